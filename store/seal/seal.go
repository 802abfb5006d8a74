// Package seal keeps private files: it seals what goes into the store, on the PC of whoever owns it, and opens what comes out, with a key that is made for each.
// It promises that without the key nobody learns more than sizes and whether it is a folder, that what is read is what was sealed, and that a wrong key and changed bytes
// have errors of their own; the format is age's, so that its tools open the same bytes.
// It leaves it to the caller to keep the key, and to store and nodes to keep the bytes.
package seal

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"filippo.io/age"
)

// Kind tells what is sealed.
type Kind string

// What can be sealed.
const (
	File   Kind = "file"
	Folder Kind = "directory"
)

// What opening may find. An error of the reader below is wrapped as it came.
var (
	ErrKey     = errors.New("the key does not open it")
	ErrNoKey   = errors.New("this is no key of a private file")
	ErrPlain   = errors.New("it is not sealed")
	ErrChanged = errors.New("its bytes were changed or cut off")
)

// Key opens what was sealed with it. It prints as a word that tells nothing: only Text has the secret.
type Key struct{ identity *age.X25519Identity }

// NewKey makes a key for one file or folder.
func NewKey() (Key, error) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return Key{}, fmt.Errorf("new key: %w", err)
	}
	return Key{identity}, nil
}

// ParseKey reads a key from what Text gave: one line, AGE-SECRET-KEY-1 and 58 more characters. The error is ErrNoKey and does not have the text in it.
func ParseKey(text string) (Key, error) {
	identity, err := age.ParseX25519Identity(strings.TrimSpace(text))
	if err != nil {
		return Key{}, ErrNoKey
	}
	return Key{identity}, nil
}

// Text is the secret itself.
func (k Key) Text() string { return k.identity.String() }

const unsaid = "key of a private file"

func (Key) String() string       { return unsaid }
func (Key) GoString() string     { return unsaid }
func (Key) LogValue() slog.Value { return slog.StringValue(unsaid) }

// folderMark is the stanza of a header that says that a folder is inside. Tools that do not know it pass over it.
const folderMark = "hpips-folder"

// marked is a recipient whose header says what is inside.
type marked struct {
	*age.X25519Recipient
	kind Kind
}

// Wrap writes the stanzas of the header; its authentication covers all of them.
func (m marked) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	stanzas, err := m.X25519Recipient.Wrap(fileKey)
	if m.kind == Folder {
		stanzas = append(stanzas, &age.Stanza{Type: folderMark})
	}
	return stanzas, err
}

// opener is an identity that looks for the mark.
type opener struct {
	*age.X25519Identity
	kind Kind
}

// Unwrap finds the key of the file in the header.
func (o *opener) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	o.kind = File
	for _, s := range stanzas {
		if s.Type == folderMark {
			o.kind = Folder
		}
	}
	return o.X25519Identity.Unwrap(stanzas)
}

// New seals what is written to it into to: the bytes of a file, or of a folder as Pack writes them. Close ends it and does not close to; without it nothing of the last
// 64 KiB can be opened.
func New(to io.Writer, key Key, kind Kind) (io.WriteCloser, error) {
	w, err := age.Encrypt(to, marked{key.identity.Recipient(), kind})
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return w, nil
}

// Reader reads what was sealed. Each byte that it gives is authentic, and io.EOF comes only where the end is; what ends otherwise is ErrChanged.
type Reader struct {
	Kind Kind
	open io.Reader
	from *source
}

// intro is how sealed bytes begin.
const intro = "age-encryption.org/v1\n"

// Open begins to read sealed bytes. ErrPlain: they are not sealed; ErrKey: they are, for another key; ErrChanged: their head is not what was written.
func Open(sealed io.Reader, key Key) (*Reader, error) {
	from := &source{r: sealed}
	b := bufio.NewReader(from)
	if head, _ := b.Peek(len(intro)); string(head) != intro {
		return nil, from.failed(ErrPlain)
	}
	who := &opener{X25519Identity: key.identity}
	open, err := age.Decrypt(b, who)
	if err != nil {
		return nil, from.failed(unopened(err))
	}
	return &Reader{who.kind, open, from}, nil
}

// Read reads on.
func (r *Reader) Read(p []byte) (int, error) {
	n, err := r.open.Read(p)
	if err != nil && err != io.EOF {
		err = r.from.failed(ErrChanged)
	}
	return n, err
}

func unopened(err error) error {
	var other *age.NoIdentityMatchError
	if errors.As(err, &other) {
		return ErrKey
	}
	return ErrChanged
}

// source remembers why reading failed, to tell a disk or a peer that fails from bytes that are wrong.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// failed is the reader's own error, or else what was found.
func (s *source) failed(found error) error {
	if s.err != nil {
		found = s.err
	}
	return fmt.Errorf("open: %w", found)
}
