package seal

import (
	"bytes"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"filippo.io/age"
)

func key(t testing.TB) Key {
	t.Helper()
	k, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func sealed(t testing.TB, k Key, kind Kind, b []byte) []byte {
	t.Helper()
	var to bytes.Buffer
	w, err := New(&to, k, kind)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return to.Bytes()
}

func opened(b []byte, k Key) ([]byte, Kind, error) {
	r, err := Open(bytes.NewReader(b), k)
	if err != nil {
		return nil, "", err
	}
	all, err := io.ReadAll(r)
	return all, r.Kind, err
}

func bytesOf(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// alice seals a file of any size; bob, to whom she gave the key, opens it, and so does the age library by itself.
func TestWhoHasTheKeyReads(t *testing.T) {
	for _, size := range []int{0, 1, 100, 64<<10 - 1, 64 << 10, 64<<10 + 1, 300_000} {
		alice, plain := key(t), bytesOf(size)
		b := sealed(t, alice, File, plain)
		bob, err := ParseKey(alice.Text() + "\n")
		if err != nil {
			t.Fatal(err)
		}
		got, kind, err := opened(b, bob)
		if err != nil || kind != File || !bytes.Equal(got, plain) {
			t.Fatalf("%d bytes: %v, %s", size, err, kind)
		}
		identity, err := age.ParseX25519Identity(alice.Text())
		if err != nil {
			t.Fatal(err)
		}
		r, err := age.Decrypt(bytes.NewReader(b), identity)
		if err != nil {
			t.Fatal(err)
		}
		if all, err := io.ReadAll(r); err != nil || !bytes.Equal(all, plain) {
			t.Fatalf("by age: %v", err)
		}
		if again := sealed(t, alice, File, plain); bytes.Equal(again, b) {
			t.Fatal("sealed twice, the same bytes: it would show that they are the same")
		}
	}
	folder, kind, err := opened(sealed(t, key(t), Folder, []byte("x")), key(t))
	if !errors.Is(err, ErrKey) || folder != nil || kind != "" {
		t.Errorf("carol has another key: %v", err)
	}
	k := key(t)
	if _, kind, err := opened(sealed(t, k, Folder, []byte("x")), k); err != nil || kind != Folder {
		t.Errorf("a folder is %q: %v", kind, err)
	}
}

// Whatever carol does to the bytes, and with whatever key, what comes out is what went in or an error, and the error says which.
func TestChangedBytesAreFound(t *testing.T) {
	k, plain := key(t), bytesOf(70_000)
	b := sealed(t, k, Folder, plain)
	for i := 0; i < len(b); i += max(1, min(i/8, 500)) {
		bad := bytes.Clone(b)
		bad[i] ^= 1 << (i % 8)
		got, _, err := opened(bad, k)
		switch {
		case err == nil:
			t.Fatalf("byte %d was changed, and nobody saw", i)
		case i < len(intro) && !errors.Is(err, ErrPlain), i > 400 && !errors.Is(err, ErrChanged):
			t.Fatalf("byte %d: %v", i, err)
		case !bytes.HasPrefix(plain, got):
			t.Fatalf("byte %d: other bytes came out", i)
		}
	}
	for cut := 0; cut < len(b); cut += max(1, min(cut/8, 500)) {
		if _, _, err := opened(b[:cut], k); !errors.Is(err, ErrChanged) && !errors.Is(err, ErrPlain) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
	if _, _, err := opened(b[:len(b)-(70_000-65_536)-16], k); !errors.Is(err, ErrChanged) { // exactly between two chunks
		t.Errorf("without its last chunk: %v", err)
	}
	if _, _, err := opened(append(bytes.Clone(b), 0), k); !errors.Is(err, ErrChanged) {
		t.Errorf("with a byte more: %v", err)
	}
	for _, plain := range []string{"", "a", "age-encryption.org/v2\n", "hello, this is no sealed file at all"} {
		if _, _, err := opened([]byte(plain), k); !errors.Is(err, ErrPlain) {
			t.Errorf("%q: %v", plain, err)
		}
	}
}

// A peer that goes away is not a file that is broken.
func TestAReaderThatFailsIsToldApart(t *testing.T) {
	k := key(t)
	b := sealed(t, k, File, bytesOf(200_000))
	gone := errors.New("no node has it")
	for _, at := range []int{0, 10, 150, 100_000, len(b)} {
		r, err := Open(io.MultiReader(bytes.NewReader(b[:at]), iotest.ErrReader(gone)), k)
		if err == nil {
			_, err = io.ReadAll(r)
		}
		if !errors.Is(err, gone) || errors.Is(err, ErrChanged) || errors.Is(err, ErrPlain) {
			t.Errorf("gone at %d: %v", at, err)
		}
	}
}

// A key that falls into a log or a message says nothing there.
func TestAKeyIsNotPrinted(t *testing.T) {
	k := key(t)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("sealed", "key", k)
	said := fmt.Sprint(k) + fmt.Sprintf("%v %+v %#v %s %q %x", k, k, k, k, k, k) + fmt.Sprint(struct{ K Key }{k}) + log.String()
	if strings.Contains(strings.ToUpper(said), k.Text()[:20]) || strings.Contains(said, "SECRET") {
		t.Errorf("it is printed: %s", said)
	}
	for _, text := range []string{"", "AGE-SECRET-KEY-1QQQ", k.Text() + "Q", strings.Replace(k.Text(), "1", "2", 1), "age1qqqq"} {
		if _, err := ParseKey(text); !errors.Is(err, ErrNoKey) || text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%q is a key: %v", text, err)
		}
	}
}

var rewrite = flag.Bool("rewrite", false, "write the test vectors anew")

// The vectors are a sealed file and a sealed folder with their key, made once: what was sealed then must open for ever.
func TestVectors(t *testing.T) {
	at := func(name string) string { return filepath.Join("testdata", name) }
	if *rewrite {
		k := key(t)
		write := func(name string, b []byte) {
			if err := os.WriteFile(at(name), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		write("key", []byte(k.Text()+"\n"))
		write("file.base64", base64.StdEncoding.AppendEncode(nil, sealed(t, k, File, []byte("for bob alone\n"))))
		var folder bytes.Buffer
		if _, err := Pack(t.Context(), &folder, k, tree(t), nil); err != nil {
			t.Fatal(err)
		}
		write("folder.base64", base64.StdEncoding.AppendEncode(nil, folder.Bytes()))
	}
	read := func(name string) []byte {
		b, err := os.ReadFile(at(name))
		if err == nil && strings.HasSuffix(name, ".base64") {
			b, err = base64.StdEncoding.DecodeString(string(b))
		}
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	k, err := ParseKey(string(read("key")))
	if err != nil {
		t.Fatal(err)
	}
	if got, kind, err := opened(read("file.base64"), k); err != nil || kind != File || string(got) != "for bob alone\n" {
		t.Errorf("file: %q, %s, %v", got, kind, err)
	}
	r, err := Open(bytes.NewReader(read("folder.base64")), k)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	if _, err := Unpack(t.Context(), r, out, false, nil); err != nil {
		t.Fatal(err)
	}
	same(t, tree(t), out)
}

func FuzzOpen(f *testing.F) {
	k := key(f)
	plain := bytesOf(1000)
	good := sealed(f, k, File, plain)
	f.Add(good)
	f.Add([]byte(intro))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, _, err := opened(b, k)
		if err == nil && !bytes.Equal(got, plain) {
			t.Fatal("something else was sealed with a key that nobody has")
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	k, plain := key(b), bytesOf(16<<20)
	b.SetBytes(int64(len(plain)))
	for b.Loop() {
		w, err := New(io.Discard, k, File)
		if err != nil {
			b.Fatal(err)
		}
		w.Write(plain)
		w.Close()
	}
}

func BenchmarkOpen(b *testing.B) {
	k, plain := key(b), bytesOf(16<<20)
	s := sealed(b, k, File, plain)
	b.SetBytes(int64(len(plain)))
	for b.Loop() {
		r, err := Open(bytes.NewReader(s), k)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			b.Fatal(err)
		}
	}
}
