package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/hpips/hpips/engine"
)

// domain begins the names that this package's images have in the engine, which nobody else gives: images with other names are somebody else's and never touched.
const domain = "hpips.local/"

// shelf keeps which images the engine has of ours, and who uses them.
type shelf struct {
	e     *Engine
	mu    sync.Mutex
	kept  map[string]*kept // by key
	timer *time.Timer      // when the next may have been unused for too long
	shut  bool
}

// kept is an image in the engine.
type kept struct {
	loading sync.Mutex // held by who looks whether it is there, and loads it
	id      string     // as the engine calls it; "" until it is known
	users   int
	last    time.Time // when it was used last
	size    int64     // in bytes, that it takes
}

func imageName(key string) string { return domain + key + ":latest" }

// find takes stock: what earlier nodes have left counts as unused since now.
func (s *shelf) find(ctx context.Context) error {
	list, err := s.e.api.ImageList(ctx, client.ImageListOptions{})
	if err != nil {
		return fmt.Errorf("images: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, image := range list.Items {
		for _, tag := range image.RepoTags {
			if key, ours := strings.CutPrefix(strings.TrimSuffix(tag, ":latest"), domain); ours && s.kept[key] == nil {
				s.kept[key] = &kept{last: time.Now(), size: image.Size}
			}
		}
	}
	return nil
}

// use has the engine hold an image, and keeps it until its release.
func (s *shelf) use(ctx context.Context, key string, i *boxed) (id string, err error) {
	s.mu.Lock()
	k := s.kept[key]
	if k == nil {
		k = &kept{}
		s.kept[key] = k
	}
	k.users++
	s.mu.Unlock()
	k.loading.Lock()
	defer k.loading.Unlock()
	if k.id == "" {
		err = s.e.ensure(ctx, key, i, k)
	}
	if err != nil {
		s.release(key)
		return "", err
	}
	return k.id, nil
}

// again loads an image that somebody has taken from the engine.
func (s *shelf) again(ctx context.Context, key string, i *boxed) error {
	s.mu.Lock()
	k := s.kept[key]
	s.mu.Unlock()
	if k == nil {
		return errors.New("images: it is not in use")
	}
	k.loading.Lock()
	defer k.loading.Unlock()
	return s.e.ensure(ctx, key, i, k)
}

// known notes what an image is called and takes.
func (s *shelf) known(k *kept, id string, size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k.id, k.size = id, max(k.size, size)
}

// release ends one use.
func (s *shelf) release(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.kept[key]
	k.users--
	k.last = time.Now()
	if k.id == "" && k.users == 0 {
		delete(s.kept, key) // it never came to be
	}
	s.wind()
}

// wind sets the timer for the image that is unused for the longest. Needs s.mu.
func (s *shelf) wind() {
	wait := time.Duration(-1)
	for _, k := range s.kept {
		if k.users == 0 {
			if left := s.e.cfg.Keep - time.Since(k.last); wait < 0 || left < wait {
				wait = max(left, 0)
			}
		}
	}
	switch {
	case s.shut || wait < 0:
		s.timer.Stop()
	default:
		s.timer.Reset(wait + time.Second)
	}
}

// claim sets room aside for an image that is in use and about to be loaded, if there is any beside the others in use.
func (s *shelf) claim(k *kept, i *boxed, size int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	used := int64(0)
	for _, other := range s.kept {
		if other != k && other.users > 0 {
			used += other.size
		}
	}
	if most := s.e.cfg.AllImages; used+size > most {
		return fmt.Errorf("image %s: it has %s, and images in use here take %s of the %s that all may take together: there is room when one of them is let go",
			i.Name(), engine.Bytes(size), engine.Bytes(used), engine.Bytes(most))
	}
	k.size = size
	return nil
}

// due names images that are to go: those that nobody has used for too long, and as long as unused ones take too much, alone or with those in use, those unused for the longest.
func (s *shelf) due(now time.Time) (keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var idle []string
	var total, used int64
	for key, k := range s.kept {
		if k.users == 0 {
			idle, total = append(idle, key), total+k.size
		} else {
			used += k.size
		}
	}
	room := min(s.e.cfg.Images, s.e.cfg.AllImages-used)
	slices.SortFunc(idle, func(a, b string) int { return s.kept[a].last.Compare(s.kept[b].last) })
	for _, key := range idle {
		if k := s.kept[key]; now.Sub(k.last) < s.e.cfg.Keep && total <= room {
			break
		}
		total -= s.kept[key].size
		keys = append(keys, key)
	}
	return keys
}

// collect removes what is due. What the engine still needs for containers that are not ours to count stays until the next time.
func (s *shelf) collect(ctx context.Context) {
	for _, key := range s.due(time.Now()) {
		s.mu.Lock()
		k := s.kept[key]
		s.mu.Unlock()
		if k == nil || !k.loading.TryLock() {
			continue
		}
		s.mu.Lock()
		gone := k.users == 0
		if gone {
			delete(s.kept, key)
		}
		s.mu.Unlock()
		if gone {
			_, err := s.e.api.ImageRemove(ctx, imageName(key), client.ImageRemoveOptions{PruneChildren: true})
			if err != nil && !errdefs.IsNotFound(err) {
				s.e.log.Debug("An image cannot be removed", "image", key, "err", err)
			}
		}
		k.loading.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wind()
}

// ensure has the engine hold exactly the image that the layout describes. Needs k.loading.
func (e *Engine) ensure(ctx context.Context, key string, i *boxed, k *kept) error {
	if err := e.look(ctx, key, i, k); err == nil || !errdefs.IsNotFound(err) {
		return err
	}
	w, err := i.Weigh(ctx, e.cfg.MaxImage)
	if err != nil {
		return err
	}
	if err := e.shelf.claim(k, i, w.Bytes); err != nil {
		return err
	}
	e.shelf.collect(ctx)
	if err := e.load(ctx, key, i); err != nil {
		return err
	}
	if err := e.look(ctx, key, i, k); err != nil {
		return fmt.Errorf("image %s: it was loaded, and: %w", i.Name(), err)
	}
	e.shelf.known(k, k.id, w.Bytes)
	return nil
}

// look asks for an image, which must be that of the layout: engines call an image by the digest of its configuration or of its manifest.
func (e *Engine) look(ctx context.Context, key string, i *boxed, k *kept) error {
	got, err := e.api.ImageInspect(ctx, imageName(key))
	if err != nil {
		return err
	}
	if id := strings.TrimPrefix(got.ID, "sha256:"); id != i.Parts.Config.Digest.Encoded() && id != i.Manifest.Digest.Encoded() {
		return fmt.Errorf("image %s: the engine holds another one, %.12s, under its name: remove it, such as by podman rmi %s", i.Name(), id, imageName(key))
	}
	e.shelf.known(k, got.ID, got.Size)
	return nil
}

// load sends an image to the engine, made into a tar on the way.
func (e *Engine) load(ctx context.Context, key string, i *boxed) error {
	r, w := io.Pipe()
	made := make(chan error, 1)
	go func() {
		err := i.archive(ctx, w, imageName(key))
		w.CloseWithError(err)
		made <- err
	}()
	said, err := e.api.ImageLoad(ctx, r)
	if err == nil {
		err = errors.Join(told(said), said.Close())
	}
	r.CloseWithError(errors.New("the engine takes no more"))
	wrote := <-made
	var bad *engine.ProgramError
	switch {
	case errors.As(wrote, &bad):
		return wrote
	case err != nil:
		return fmt.Errorf("image %s: the engine does not take it: %w", i.Name(), err)
	}
	return nil
}

// told reads what an engine says while it loads: a line of JSON at a time, in which it may tell of an error.
func told(r io.Reader) error {
	for d := json.NewDecoder(io.LimitReader(r, 4<<20)); ; {
		var line struct {
			Error string `json:"error"`
		}
		if err := d.Decode(&line); err != nil {
			return nil //nolint:nilerr // what is no JSON says nothing; whether the image is there is asked for next
		}
		if line.Error != "" {
			return errors.New(line.Error)
		}
	}
}
