package pack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/multiformats/go-multihash"
)

// A record begins at a multiple of step bytes, so that it is found behind one that was damaged:
//
//	bytes 0…3   "HPR1"
//	bytes 4…7   bytes of data, big-endian as all numbers
//	bytes 8…9   bytes of the multihash
//	bytes 10…13 CRC-32C (RFC 3720, section 12.1) of the bytes before it and of the multihash
//	            the multihash, the data
const (
	magic   = "HPR1"
	fixed   = 14
	step    = 512
	maxHash = 128     // bytes
	maxData = 2 << 20 // bytes; bitswap's limit of a block
)

// Errors of records.
var (
	// ErrDamaged means that at a place there is another record than was asked for, or none, or half of one.
	ErrDamaged = errors.New("damaged record")
	// ErrSize means that a record cannot be written since its hash or its data are too long.
	ErrSize = errors.New("record too large")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// up is the next multiple of step.
func up(n int64) int64 { return (n + step - 1) / step * step }

// room is how many bytes of a file a record takes.
func room(hash, data int) int64 { return up(int64(fixed + hash + data)) }

// header gives what stands before the data.
func header(h multihash.Multihash, size int) ([]byte, error) {
	if len(h) == 0 || len(h) > maxHash || size > maxData {
		return nil, fmt.Errorf("%w: a hash of %d bytes (1…%d), data of %d bytes (%d at most)", ErrSize, len(h), maxHash, size, maxData)
	}
	b := make([]byte, fixed, fixed+len(h))
	copy(b, magic)
	binary.BigEndian.PutUint32(b[4:], uint32(size))
	binary.BigEndian.PutUint16(b[8:], uint16(len(h)))
	binary.BigEndian.PutUint32(b[10:], check(b[:10], h))
	return append(b, h...), nil
}

func check(head []byte, h multihash.Multihash) uint32 {
	return crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, h)
}

// parse reads a header from the first bytes of a record; ok is false if there is none.
func parse(b []byte) (h multihash.Multihash, size int, ok bool) {
	if len(b) < fixed || string(b[:4]) != magic {
		return nil, 0, false
	}
	n, long := binary.BigEndian.Uint32(b[4:]), int(binary.BigEndian.Uint16(b[8:]))
	if n > maxData || long == 0 || long > maxHash || len(b) < fixed+long {
		return nil, 0, false
	}
	h = bytes.Clone(b[fixed : fixed+long])
	return h, int(n), binary.BigEndian.Uint32(b[10:]) == check(b[:10], h)
}

// Read reads the data of the record under h. A file that is not there is fs.ErrNotExist, a record that is not as it was written ErrDamaged; whether the data
// have the hash is the caller's to see.
func (p *Packs) Read(h multihash.Multihash, at Place) ([]byte, error) {
	head, err := header(h, at.Size)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(p.path(at.Pack)) // open for one read, so that many packs are no more open files than readers
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, len(head)+at.Size)
	switch _, err := f.ReadAt(b, at.At); {
	case err == io.EOF:
		return nil, fmt.Errorf("%s at %d: %w: it was cut short", f.Name(), at.At, ErrDamaged)
	case err != nil:
		return nil, err
	case !bytes.Equal(b[:len(head)], head):
		return nil, fmt.Errorf("%s at %d: %w: it has another header", f.Name(), at.At, ErrDamaged)
	}
	return b[len(head):], nil
}

// Scan looks for records from a byte of a file on, and calls fn with each whose header is right; whether the data have the hash is fn's to see, and end is where
// its room ends. Behind what is no header it goes on at the next multiple of step: what lies behind a damaged record is found.
func (p *Packs) Scan(id uint32, from int64, fn func(h multihash.Multihash, at Place, end int64, data []byte) error) error {
	f, err := os.Open(p.path(id))
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	head := make([]byte, fixed+maxHash)
	for at := up(from); at < info.Size(); {
		n, err := f.ReadAt(head, at)
		if err != nil && err != io.EOF {
			return err
		}
		next := at + step
		h, size, ok := parse(head[:n])
		if begins := at + int64(fixed+len(h)); ok && begins+int64(size) <= info.Size() {
			data := make([]byte, size)
			if _, err := f.ReadAt(data, begins); err != nil {
				return err
			}
			place := Place{id, at, size}
			next = place.End(len(h))
			if err := fn(h, place, next, data); err != nil {
				return err
			}
		}
		at = next
	}
	return nil
}
