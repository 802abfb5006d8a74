package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/hpips/hpips/engine/image"
)

// maxVolumes is how many an image may have.
const maxVolumes = 16

// boxed is an image with what a container of it is made of.
type boxed struct {
	*image.Image
	plan plan
}

// plan is what a container of an image is made of, if its job says nothing else.
type plan struct {
	entrypoint, cmd, env []string
	folder               string
	volumes              []string
	checked              bool // it wants its health looked at, which is nobody's business here
}

// read opens a layout and makes the plan of the image for this machine, whose index has the given sha256. Who has it closes it.
func read(dir, key string) (*boxed, error) {
	l, err := image.Open(dir)
	if err != nil {
		return nil, err
	}
	i, err := l.Image(key)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	b := &boxed{Image: i}
	if err := b.read(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return b, nil
}

// read makes the plan.
func (i *boxed) read() error {
	c := &i.Config
	var more struct { // of Docker's, beyond the specification
		Config struct{ Healthcheck json.RawMessage } `json:"config"`
	}
	if err := json.Unmarshal(i.ConfigText, &more); err != nil {
		return i.Bad(image.Again, "its configuration: %v", err)
	}
	p := plan{entrypoint: c.Config.Entrypoint, cmd: c.Config.Cmd, env: c.Config.Env, folder: c.Config.WorkingDir, checked: len(more.Config.Healthcheck) > 0}
	for v := range c.Config.Volumes {
		if v = path.Clean(v); v == "/tmp" || v == "/dev/shm" {
			continue // are there in any case
		}
		if err := admit(v); err != nil || len(c.Config.Volumes) > maxVolumes {
			return i.Bad("build it with other volumes, or none", "its volume %q cannot be made", v)
		}
		p.volumes = append(p.volumes, v)
	}
	slices.Sort(p.volumes)
	for _, kv := range p.env {
		if name, _, ok := strings.Cut(kv, "="); !ok || name == "" || strings.ContainsRune(kv, 0) {
			return i.Bad(image.Again, "its configuration sets %q", kv)
		}
	}
	for _, word := range append(append([]string{p.folder}, p.entrypoint...), p.cmd...) {
		if strings.ContainsRune(word, 0) {
			return i.Bad(image.Again, "its command contains a zero byte")
		}
	}
	i.plan = p
	return nil
}

// admit says why nothing can be shown at a clean absolute path of a container: its kernel's folders, what the sandbox itself puts there, and names that engines misread.
func admit(guest string) error {
	if !path.IsAbs(guest) || path.Clean(guest) != guest || guest == "/" {
		return errors.New("it is no clean absolute path of a folder or file")
	}
	for _, own := range reserved {
		if guest == own || strings.HasPrefix(guest, own+"/") {
			return fmt.Errorf("the sandbox has its own %s: choose another folder, such as /in or /out", own)
		}
	}
	return plain(guest)
}

// reserved are the folders that a container has for itself.
var reserved = []string{"/proc", "/sys", "/dev", "/tmp", "/run", "/etc"}

// plain says whether an engine takes a path as it is: some write mounts as words between such marks.
func plain(name string) error {
	if strings.ContainsAny(name, ",:\"\\\n\r\x00") {
		return fmt.Errorf("the path %q contains a mark that engines misread (a comma, colon, quote or backslash): choose another name", name)
	}
	return nil
}
