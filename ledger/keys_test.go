package ledger

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	store "github.com/99designs/keyring"

	"github.com/hpips/hpips/spec/job"
)

// The words of a test vector of BIP-39, and the account to which the path of this chain leads from them; other wallets of coin type 118 have it as
// cosmos1r5v5srda7xfth3hn2s26txvrcrntldjumt8mhl.
const (
	oldWords   = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon art"
	oldAddress = "hpips1r5v5srda7xfth3hn2s26txvrcrntldjust84q8"
)

func ring(t *testing.T, dir, passphrase string) *Keys {
	t.Helper()
	k, err := OpenKeys(dir, StoreFile, func(bool) (string, error) { return passphrase, nil })
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// told gives the words for people in an error, which must have them.
func told(t *testing.T, err error) string {
	t.Helper()
	var f *job.Failure
	if !errors.As(err, &f) || f.Hint == "" {
		t.Fatalf("%v has no words and hint for people", err)
	}
	return f.Message
}

func TestAnAccountComesBackFromItsWords(t *testing.T) {
	k := ring(t, t.TempDir(), "a long evening")
	a, words, err := k.New("alice")
	if err != nil || len(strings.Fields(words)) != 24 || !strings.HasPrefix(a.Address, "hpips1") {
		t.Fatalf("%v of %d words, %v", a, len(strings.Fields(words)), err)
	}
	other := ring(t, t.TempDir(), "another evening")
	b, err := other.Restore("again", "  "+strings.ToUpper(words)+"\n")
	if err != nil || a.Address != b.Address {
		t.Errorf("%s comes back as %s, %v", a.Address, b.Address, err)
	}
	if c, err := other.Restore("old", oldWords); err != nil || c.Address != oldAddress {
		t.Errorf("the first vector's account is %s, %v", c.Address, err)
	}
	if _, err := other.Restore("once-more", words); told(t, err) != "this account is here already under another name" {
		t.Error(err)
	}
}

func TestWrongWordsAreToldApartAndNotRepeated(t *testing.T) {
	k := ring(t, t.TempDir(), "a long evening")
	for words, want := range map[string]string{
		"abandon art": "these are 2 words", strings.Replace(oldWords, "art", "arrt", 1): "word 24 is none",
		strings.Replace(oldWords, "art", "able", 1): "do not belong together", "": "these are 0 words",
	} {
		_, err := k.Restore("alice", words)
		if text := told(t, err); !strings.Contains(text, want) || strings.Contains(text, "abandon") || strings.Contains(text, "arrt") {
			t.Errorf("%q is told as %q, want %q", words, text, want)
		}
	}
	for _, name := range []string{"", "a b", "../x", strings.Repeat("x", 33), "-"} {
		if _, _, err := k.New(name); told(t, err) == "" {
			t.Errorf("%q is taken for a name", name)
		}
	}
}

func TestAWrongPassphraseOpensNothing(t *testing.T) {
	dir := t.TempDir()
	k := ring(t, dir, "a long evening")
	a, _, err := k.New("alice")
	if err != nil {
		t.Fatal(err)
	}
	wrong := ring(t, dir, "a short evening")
	for _, try := range []func() error{
		func() error { _, err := wrong.List(); return err },
		func() error { _, err := wrong.Signer("alice"); return err },
		func() error { _, _, err := wrong.New("bob"); return err },
		func() error { _, err := wrong.Export("alice", "12345678"); return err },
	} {
		if told(t, try()) != "wrong passphrase" {
			t.Error("a wrong passphrase is told otherwise")
		}
	}
	again := ring(t, dir, "a long evening")
	s, err := again.Signer("")
	if err != nil || s.Address() != a.Address {
		t.Fatal(err)
	}
	text, err := s.Sign([]byte("a word"))
	if err != nil || !s.Public().VerifySignature([]byte("a word"), text) {
		t.Errorf("signature %x, %v", text, err)
	}
	err = filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if i, err := d.Info(); err != nil || i.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s has mode %v, %v", p, i.Mode(), err)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestABackupBringsAllBack(t *testing.T) {
	k := ring(t, t.TempDir(), "a long evening")
	for _, name := range []string{"alice", "bob"} {
		if _, _, err := k.New(name); err != nil {
			t.Fatal(err)
		}
	}
	all, err := k.List()
	if err != nil {
		t.Fatal(err)
	}
	text, saved, err := k.Backup("in a drawer")
	if err != nil || len(saved) != 2 {
		t.Fatal(saved, err)
	}
	other := ring(t, t.TempDir(), "another evening")
	if _, err := other.Import("", text, "in a cupboard"); told(t, err) != "wrong passphrase" {
		t.Error(err)
	}
	for range 2 { // the second time all is there
		back, err := other.Import("", text, "in a drawer")
		if err != nil || len(back) != 2 || back[0] != all[0] || back[1] != all[1] {
			t.Errorf("%v came back as %v, %v", all, back, err)
		}
	}
	one, err := k.Export("bob", "in a drawer")
	if err != nil {
		t.Fatal(err)
	}
	third := ring(t, t.TempDir(), "a third evening")
	if back, err := third.Import("robert", []byte(one), "in a drawer"); err != nil || len(back) != 1 || back[0].Address != all[1].Address || back[0].Name != "robert" {
		t.Errorf("bob came back as %v, %v", back, err)
	}
}

// The default build has no devices and says so; go test -tags "ledger test_ledger_mock", with cgo, has one that is made of software.
func TestADevice(t *testing.T) {
	k := ring(t, t.TempDir(), "a long evening")
	device, err := k.Hardware("device")
	if err != nil {
		if told(t, err) != "this program was built without support for Ledger devices" {
			t.Error(err)
		}
		return
	}
	s, err := k.Signer("device")
	if err != nil || !device.Hardware {
		t.Fatalf("%+v, %v", device, err)
	}
	if _, err := k.Export("device", "12345678"); told(t, err) == "" {
		t.Error("a device gave its secret away")
	}
	if _, _, err := SignWord(s, []byte("a word")); told(t, err) == "" {
		t.Error("a device signs what it cannot show")
	}
	inVillage(t, func(t *testing.T, v *village, l *Ledger) {
		if _, err := l.Deliver(t.Context(), pay(t, s, person(t, "bob"), "signed by hand")); err != nil || v.paid["signed by hand"] != 1 {
			t.Errorf("a payment of the device: %v", err)
		}
	})
}

// The system's store is asked for alone, under this program's name, and no file is written beside it. Where it does not answer, people are told so and what to do.
func TestTheStoreOfTheSystem(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	kept := store.NewArrayKeyring(nil)
	var asked store.Config
	system := func(c store.Config) (store.Keyring, error) { asked = c; return kept, nil }
	nobody := func(bool) (string, error) { return "", errors.New("a passphrase is asked for") }
	k, err := openKeys(dir, StoreOS, nobody, system)
	if err != nil {
		t.Fatal(err)
	}
	if asked.ServiceName != "hpips" || asked.FileDir != "" || asked.FilePasswordFunc != nil || !slices.Equal(asked.AllowedBackends, systems()) {
		t.Errorf("asked for %+v", asked)
	}
	for _, b := range []store.BackendType{store.FileBackend, store.PassBackend, store.KeyCtlBackend} {
		if slices.Contains(asked.AllowedBackends, b) {
			t.Errorf("%s is taken for the system's store", b)
		}
	}
	a, _, err := k.New("alice")
	if err != nil {
		t.Fatal(err)
	}
	again, err := openKeys(dir, StoreOS, nobody, system)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := again.Signer("alice"); err != nil || s.Address() != a.Address {
		t.Errorf("%v, %v", s, err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("files beside the system's store: %v", err)
	}
	_, err = openKeys(dir, StoreOS, nobody, func(store.Config) (store.Keyring, error) { return nil, store.ErrNoAvailImpl })
	var f *job.Failure
	if told(t, err) != "this system has no store of secrets that answers" || !errors.As(err, &f) || f.Hint != "use --keyring file" || f.Code != job.CodeUnavailable {
		t.Errorf("%+v", err)
	}
	if _, err := openKeys(dir, "cloud", nobody, system); !strings.Contains(told(t, err), "no store of keys") {
		t.Error(err)
	}
	for _, kind := range []string{StoreFile, StoreTest} {
		if _, err := openKeys(dir, kind, nobody, system); err != nil || !slices.Equal(asked.AllowedBackends, []store.BackendType{store.FileBackend}) || asked.FileDir != filepath.Join(dir, "keyring-"+kind) {
			t.Errorf("%s: %+v, %v", kind, asked, err)
		}
	}
}

func FuzzImport(f *testing.F) {
	k, err := OpenKeys(f.TempDir(), StoreTest, nil)
	if err != nil {
		f.Fatal(err)
	}
	if _, _, err := k.New("alice"); err != nil {
		f.Fatal(err)
	}
	armor, err := k.Export("alice", "12345678")
	if err != nil {
		f.Fatal(err)
	}
	text, _, err := k.Backup("12345678")
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(armor))
	f.Add(text)
	f.Add([]byte(strings.Replace(armor, "argon2", "bcrypt", 1)))
	f.Add([]byte(`{"format":"hpips wallet 1","accounts":[{"armor":""}]}`))
	f.Add([]byte("-----BEGIN TENDERMINT PRIVATE KEY-----\n\n-----END TENDERMINT PRIVATE KEY-----"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if back, err := k.Import("x", text, "12345678"); err == nil && len(back) > 0 && back[0].Address == "" {
			t.Errorf("%v out of %q", back, text)
		}
	})
}

func TestAddressesAndNodesAsTyped(t *testing.T) {
	for text, want := range map[string]string{
		oldAddress: "", "cosmos1r5v5srda7xfth3hn2s26txvrcrntldjumt8mhl": "another network: it begins with cosmos1, those of HPIPS with hpips1",
		"hpips1r5v5srda7xfth3hn2s26txvrcrntldju6ssgrx": "letters are wrong", "hpips1abc": "letters are wrong", "alice": "no address", "cosmos1abc": "begins with cosmos1, as those of another network do",
		"": "no address", strings.Repeat("hpips1", 50): "is none",
	} {
		err := CheckAddress(text)
		if want == "" && err != nil || want != "" && !strings.Contains(told(t, err), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	key := make([]byte, 32)
	key[0] = 7
	back, err := NodeKey(NodeText(key))
	if err != nil || string(back) != string(key) {
		t.Errorf("%x comes back as %x, %v", key, back, err)
	}
	for _, text := range []string{"", "12D3Koo", oldAddress, "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"} {
		if _, err := NodeKey(text); told(t, err) == "" {
			t.Errorf("%q is taken for a node", text)
		}
	}
}
