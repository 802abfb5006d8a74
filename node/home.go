package node

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gofrs/flock"
	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/spec/job"
)

// tokenBytes is the length of the API token in characters.
const tokenBytes = 64

// home is a node's folder, held by this process alone:
//
//	config.toml  keys/{node,owner,consensus,vrf,spend}.key  node.db  blocks/  tasks/  cache/  chain/  logs/  api.token  api.addr  chain.addr  blocks.checked  pins.db  pins.token  edges.json  share.json  lock
type home struct {
	dir  string
	lock *flock.Flock
}

// openHome makes the folder if it is not there and takes it; a second node on it is told who has it.
func openHome(dir string) (*home, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, &job.Failure{Code: job.CodeUsage, Message: "the home folder cannot be made: " + err.Error(), Hint: "name another one with --home DIR"}
	}
	name := filepath.Join(dir, "lock")
	lock := flock.New(name)
	free, err := lock.TryLock()
	if err != nil {
		return nil, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("the home %s cannot be taken: %v", dir, err), Hint: "is it yours? name another one with --home DIR"}
	}
	if !free {
		return nil, taken(dir, name)
	}
	if err := os.WriteFile(name, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("home %s: %w", dir, err), lock.Close())
	}
	h := &home{dir: dir, lock: lock}
	_ = os.Remove(h.path(ChainAddressFile)) // of a life that was killed
	if err := h.template(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return h, nil
}

func taken(dir, lock string) error {
	who := ""
	if text, err := os.ReadFile(lock); err == nil && strings.TrimSpace(string(text)) != "" {
		who = " as process " + strings.TrimSpace(string(text))
	}
	return &job.Failure{
		Code:    job.CodeUnavailable,
		Message: fmt.Sprintf("a node runs on %s already%s", dir, who),
		Hint:    "use it (hpips status), stop it, or start another one on its own folder: hpips up --home DIR --api 127.0.0.1:0 --listen /ip4/0.0.0.0/tcp/0",
	}
}

// template writes config.toml if there is none.
func (h *home) template() error {
	f, err := os.OpenFile(h.path(ConfigFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("home %s: %w", h.dir, err)
	}
	_, err = f.WriteString(template)
	return errors.Join(err, f.Close())
}

func (h *home) path(names ...string) string {
	return filepath.Join(append([]string{h.dir}, names...)...)
}

// close removes the address of the API and gives the home back.
func (h *home) close() error {
	err := os.Remove(h.path(client.AddressFile))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, h.lock.Close())
}

// publish writes where the API is, in one step, so that nobody reads half of it.
func (h *home) publish(addr string) error {
	return writeWhole(h.path(client.AddressFile), []byte(addr+"\n"))
}

// token reads the API token, or makes one.
func (h *home) token() (string, error) {
	token, err := secret(h.path(client.TokenFile))
	if err != nil {
		return "", fmt.Errorf("api token: %w", err)
	}
	return token, nil
}

// secret reads a token from a file, or makes one.
func secret(name string) (string, error) {
	text, err := os.ReadFile(name)
	if err == nil && len(strings.TrimSpace(string(text))) == tokenBytes {
		return strings.TrimSpace(string(text)), os.Chmod(name, 0o600)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	raw := make([]byte, tokenBytes/2)
	_, _ = rand.Read(raw) // never fails since Go 1.24
	token := hex.EncodeToString(raw)
	return token, writeWhole(name, []byte(token+"\n"))
}

// writeWhole writes a file that only its owner may read, by a temporary neighbour.
func writeWhole(name string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", name, err), os.Remove(f.Name()))
	}
	return nil
}

// loadKey reads an ed25519 key of the folder dir, or makes one.
func loadKey(dir, name string) (crypto.PrivKey, error) {
	file := filepath.Join(dir, "keys", name)
	text, err := os.ReadFile(file)
	switch {
	case err == nil:
		key, err := crypto.UnmarshalPrivateKey(text)
		if err != nil || key.Type() != crypto.Ed25519 {
			return nil, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("the key %s is damaged", file), Hint: "put your copy of it there; without one, delete it and the node gets a new identity"}
		}
		return key, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("node key: %w", err)
	}
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("node key: %w", err)
	}
	if text, err = crypto.MarshalPrivateKey(key); err != nil {
		return nil, fmt.Errorf("node key: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, fmt.Errorf("node key: %w", err)
	}
	return key, writeWhole(file, text)
}

// ownerLabel names the owner of a key: the hash of its public half.
func ownerLabel(key crypto.PrivKey) (string, error) {
	public, err := key.GetPublic().Raw()
	if err != nil {
		return "", fmt.Errorf("owner key: %w", err)
	}
	sum := sha256.Sum256(public)
	return "owner-" + hex.EncodeToString(sum[:12]), nil
}
