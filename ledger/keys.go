package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	store "github.com/99designs/keyring"
	sdkcrypto "github.com/cosmos/cosmos-sdk/crypto"
	"github.com/cosmos/cosmos-sdk/crypto/hd"
	"github.com/cosmos/cosmos-sdk/crypto/keyring"
	"github.com/cosmos/cosmos-sdk/crypto/keys/secp256k1"
	cryptotypes "github.com/cosmos/cosmos-sdk/crypto/types"
	sdkerrors "github.com/cosmos/cosmos-sdk/types/errors"
	"github.com/cosmos/cosmos-sdk/types/tx/signing"
	"github.com/cosmos/go-bip39"

	"github.com/hpips/hpips/spec/job"
)

// CoinType and Path are where an account lies in the tree of keys that 24 words grow into (BIP-44).
const (
	CoinType = 118
	Path     = "m/44'/118'/0'/0/0"
)

// The stores of secrets.
const (
	StoreOS   = "os"   // that of the operating system
	StoreFile = "file" // files, each encrypted under a passphrase
	StoreTest = "test" // files that anybody can read: for development networks alone
)

// Keys is a ring of accounts whose secrets never leave it but in an encrypted export.
type Keys struct {
	db       store.Keyring
	ring     keyring.Keyring
	unlocked bool
}

// Account is a key by its name.
type Account struct {
	Name     string `json:"name"`
	Address  string `json:"address"`
	Hardware bool   `json:"hardware"` // its secret is in a device
}

// Passphrase asks the owner for the passphrase of a store. fresh: the store is new, so ask twice.
type Passphrase func(fresh bool) (string, error)

const service = "hpips"

// OpenKeys opens the ring in a folder. Nothing is asked and nothing written until it is used.
func OpenKeys(dir, kind string, ask Passphrase) (*Keys, error) {
	return openKeys(dir, kind, ask, store.Open)
}

func openKeys(dir, kind string, ask Passphrase, open func(store.Config) (store.Keyring, error)) (*Keys, error) {
	words, err := newEncoding()
	if err != nil {
		return nil, err
	}
	k := &Keys{}
	c := store.Config{ServiceName: service, KeychainTrustApplication: true, AllowedBackends: []store.BackendType{store.FileBackend}}
	switch kind {
	case StoreOS:
		c.AllowedBackends = systems()
	case StoreFile:
		c.FileDir = filepath.Join(dir, "keyring-file")
		c.FilePasswordFunc = func(string) (string, error) {
			fresh, err := k.fresh()
			if err != nil {
				return "", err
			}
			return ask(fresh)
		}
	case StoreTest:
		c.FileDir = filepath.Join(dir, "keyring-test")
		c.FilePasswordFunc = store.FixedStringPrompt("test")
	default:
		return nil, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("%.20q is no store of keys", kind), Hint: "there are os, file and test"}
	}
	if _, err := os.Stat(c.FileDir); c.FileDir != "" && err != nil && !errors.Is(err, fs.ErrNotExist) { // the store would fall over it
		return nil, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("the keys cannot be read: %v", err), Hint: "name another home: --home DIR"}
	}
	k.db, err = open(c)
	if err != nil {
		return nil, &job.Failure{Code: job.CodeUnavailable, Message: "this system has no store of secrets that answers", Hint: "use --keyring file"}
	}
	k.ring = keyring.NewInMemoryWithKeyring(k.db, words.codec)
	return k, nil
}

// systems are the stores of operating systems. Those that forget at a restart, and those that need another program, are left out.
func systems() []store.BackendType {
	return []store.BackendType{store.WinCredBackend, store.KeychainBackend, store.SecretServiceBackend, store.KWalletBackend}
}

// HasSystem tells whether the operating system keeps secrets for programs.
func HasSystem() bool {
	have := store.AvailableBackends()
	return slices.ContainsFunc(systems(), func(b store.BackendType) bool { return slices.Contains(have, b) })
}

const suffix = ".info"

func (k *Keys) fresh() (bool, error) {
	all, err := k.db.Keys()
	return !slices.ContainsFunc(all, func(name string) bool { return strings.HasSuffix(name, suffix) }), err
}

// unlock finds out whether the passphrase is the right one, before a key is read or written under a wrong one.
func (k *Keys) unlock() error {
	if k.unlocked {
		return nil
	}
	all, err := k.db.Keys()
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	for _, name := range all {
		if !strings.HasSuffix(name, suffix) {
			continue
		}
		if _, err := k.db.Get(name); err != nil {
			var f *job.Failure
			if errors.As(err, &f) || !strings.Contains(err.Error(), "integrity check") {
				return fmt.Errorf("keys: %w", err)
			}
			return &job.Failure{Code: job.CodeUsage, Message: "wrong passphrase", Hint: "it is the one that was chosen when this wallet's first account was made"}
		}
		break
	}
	k.unlocked = true
	return nil
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$`)

// vacant checks that a new account may have a name.
func (k *Keys) vacant(name string) error {
	if !plainName.MatchString(name) {
		return &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("%.40q is no name for an account", name), Hint: "a name has up to 32 letters, digits, - and _"}
	}
	if err := k.unlock(); err != nil {
		return err
	}
	if _, err := k.ring.Key(name); err == nil {
		return &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("there is an account %q already", name), Hint: "choose another name; see hpips wallet show"}
	}
	return nil
}

// New makes an account. The 24 words are its only copy outside the ring: whoever has them has the account.
func (k *Keys) New(name string) (Account, string, error) {
	if err := k.vacant(name); err != nil {
		return Account{}, "", err
	}
	r, words, err := k.ring.NewMnemonic(name, keyring.English, Path, "", hd.Secp256k1)
	if err != nil {
		return Account{}, "", fmt.Errorf("new account: %w", err)
	}
	a, err := asAccount(r)
	return a, words, err
}

// Restore makes an account again from its words.
func (k *Keys) Restore(name, words string) (Account, error) {
	words = strings.Join(strings.Fields(strings.ToLower(words)), " ")
	if err := checkWords(words); err != nil {
		return Account{}, err
	}
	if err := k.vacant(name); err != nil {
		return Account{}, err
	}
	r, err := k.ring.NewAccount(name, words, "", Path, hd.Secp256k1)
	if err != nil {
		return Account{}, k.taken(err)
	}
	return asAccount(r)
}

// checkWords says what is wrong with the words of an account, without repeating them.
func checkWords(words string) error {
	list := strings.Fields(words)
	const hint = "type the words in their order, with spaces between; each is from the list of BIP-39"
	if !slices.Contains([]int{12, 15, 18, 21, 24}, len(list)) {
		return &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("these are %d words: an account has 24 (or 12, 15, 18, 21)", len(list)), Hint: hint}
	}
	for i, w := range list {
		if _, known := bip39.ReverseWordMap[w]; !known {
			return &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("word %d is none of those that accounts are made of", i+1), Hint: hint}
		}
	}
	if _, err := bip39.MnemonicToByteArray(words); err != nil { // the last word holds a checksum
		return &job.Failure{Code: job.CodeUsage, Message: "these words do not belong together: one is wrong or out of order", Hint: hint}
	}
	return nil
}

func (k *Keys) taken(err error) error {
	if errors.Is(err, keyring.ErrDuplicatedAddress) || errors.Is(err, keyring.ErrKeyAlreadyExists) {
		return &job.Failure{Code: job.CodeUsage, Message: "this account is here already under another name", Hint: "see hpips wallet show"}
	}
	return fmt.Errorf("keys: %w", err)
}

// Hardware takes in the account of a Ledger device.
func (k *Keys) Hardware(name string) (Account, error) {
	if err := k.vacant(name); err != nil {
		return Account{}, err
	}
	r, err := k.ring.SaveLedgerKey(name, hd.Secp256k1, Prefix, CoinType, 0, 0)
	if err != nil && strings.Contains(fmt.Sprintf("%+v", err), "not available in this executable") { // the SDK keeps the cause for the long form
		return Account{}, &job.Failure{Code: job.CodeUsage, Message: "this program was built without support for Ledger devices",
			Hint: "build one with CGO_ENABLED=1 go build -tags ledger ./cmd/hpips"}
	}
	if err != nil {
		return Account{}, &job.Failure{Code: job.CodeUnavailable, Message: "the Ledger device does not answer: " + err.Error(), Hint: "connect it, unlock it and open its Cosmos app"}
	}
	return asAccount(r)
}

// List gives all accounts by name.
func (k *Keys) List() ([]Account, error) {
	if err := k.unlock(); err != nil {
		return nil, err
	}
	records, err := k.ring.List()
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	all := []Account{}
	for _, r := range records {
		a, err := asAccount(r)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}

// Signer gives the account of a name, ready to sign. An empty name is the only account there is.
func (k *Keys) Signer(name string) (*Holder, error) {
	all, err := k.List()
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(a Account) bool { return a.Name == name || a.Address == name })
	switch {
	case len(all) == 0:
		return nil, &job.Failure{Code: job.CodeNotFound, Message: "this wallet has no account", Hint: "make one with hpips wallet new, or bring one in with hpips wallet import"}
	case name == "" && len(all) == 1:
		i = 0
	case name == "":
		return nil, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("this wallet has %d accounts", len(all)), Hint: "say which with --from NAME; see hpips wallet show"}
	case i < 0:
		return nil, &job.Failure{Code: job.CodeNotFound, Message: fmt.Sprintf("this wallet has no account %.60q", name), Hint: "see hpips wallet show"}
	}
	r, err := k.ring.Key(all[i].Name)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	public, err := r.GetPubKey()
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	return &Holder{Account: all[i], keys: k, public: public}, nil
}

// asAccount reads a record of the ring.
func asAccount(r *keyring.Record) (Account, error) {
	address, err := r.GetAddress()
	if err != nil {
		return Account{}, fmt.Errorf("keys: %w", err)
	}
	return Account{r.Name, addressText(address), r.GetLedger() != nil}, nil
}

// Holder signs with an account of the ring.
type Holder struct {
	Account
	keys   *Keys
	public cryptotypes.PubKey
}

// Address gives the account's address.
func (h *Holder) Address() string { return h.Account.Address }

// Public gives the account's public key.
func (h *Holder) Public() cryptotypes.PubKey { return h.public }

// Mode is how it signs: a device shows what it signs, and understands the older form alone.
func (h *Holder) Mode() signing.SignMode {
	if h.Hardware {
		return signing.SignMode_SIGN_MODE_LEGACY_AMINO_JSON
	}
	return signing.SignMode_SIGN_MODE_DIRECT
}

// Sign signs.
func (h *Holder) Sign(words []byte) ([]byte, error) {
	text, _, err := h.keys.ring.Sign(h.Name, words, h.Mode())
	return text, err
}

// SignWord signs a word outside a transaction, such as a node's registration, and gives the key to check it by.
func SignWord(s Signer, word []byte) (key, signature []byte, err error) {
	if s.Mode() != signing.SignMode_SIGN_MODE_DIRECT {
		return nil, nil, &job.Failure{Code: job.CodeUsage, Message: "a Ledger device signs transactions only", Hint: "register the node for an account of this wallet that is not in a device"}
	}
	signature, err = s.Sign(word)
	return s.Public().Bytes(), signature, err
}

// Secret signs with a bare key, such as the spending key of a node.
type Secret struct{ key *secp256k1.PrivKey }

// KeySigner takes the 32 bytes of a secp256k1 key.
func KeySigner(key []byte) (*Secret, error) {
	if len(key) != secp256k1.PrivKeySize {
		return nil, fmt.Errorf("an account's key has %d bytes, not %d", secp256k1.PrivKeySize, len(key))
	}
	return &Secret{&secp256k1.PrivKey{Key: slices.Clone(key)}}, nil
}

// Address gives the key's address.
func (s *Secret) Address() string { return addressText(s.key.PubKey().Address()) }

// Public gives its public key.
func (s *Secret) Public() cryptotypes.PubKey { return s.key.PubKey() }

// Mode is how it signs.
func (s *Secret) Mode() signing.SignMode { return signing.SignMode_SIGN_MODE_DIRECT }

// Sign signs.
func (s *Secret) Sign(words []byte) ([]byte, error) { return s.key.Sign(words) }

// Put keeps a secret key in the ring, as a development network does with its owner's.
func (k *Keys) Put(name string, s *Secret) (Account, error) {
	if err := k.vacant(name); err != nil {
		return Account{}, err
	}
	if err := k.ring.ImportPrivKeyHex(name, fmt.Sprintf("%x", s.key.Key), string(hd.Secp256k1Type)); err != nil {
		return Account{}, k.taken(err)
	}
	r, err := k.ring.Key(name)
	if err != nil {
		return Account{}, fmt.Errorf("keys: %w", err)
	}
	return asAccount(r)
}

// Export gives an account encrypted under a passphrase of its own, as armoured text that other Cosmos wallets read, too.
func (k *Keys) Export(name, passphrase string) (string, error) {
	h, err := k.Signer(name)
	if err != nil {
		return "", err
	}
	if h.Hardware {
		return "", &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("the secret of %s is in a Ledger device and stays there", h.Name), Hint: "the device's own 24 words are its backup"}
	}
	text, err := k.ring.ExportPrivKeyArmor(h.Name, passphrase)
	if err != nil {
		return "", fmt.Errorf("export of %s: %w", h.Name, err)
	}
	return text, nil
}

// backup is a file with all accounts.
type backup struct {
	Format   string  `json:"format"`
	Accounts []saved `json:"accounts"`
}

type saved struct {
	Account
	Armor string `json:"armor"`
}

const backupFormat = "hpips wallet 1"

// Backup gives all accounts, but those in devices, encrypted under a passphrase.
func (k *Keys) Backup(passphrase string) (text []byte, accounts []Account, err error) {
	all, err := k.List()
	if err != nil {
		return nil, nil, err
	}
	b := backup{Format: backupFormat, Accounts: []saved{}}
	for _, a := range all {
		if a.Hardware {
			continue
		}
		armor, err := k.Export(a.Name, passphrase)
		if err != nil {
			return nil, nil, err
		}
		b.Accounts = append(b.Accounts, saved{a, armor})
		accounts = append(accounts, a)
	}
	if len(accounts) == 0 {
		return nil, nil, &job.Failure{Code: job.CodeNotFound, Message: "this wallet has no account to back up", Hint: "make one with hpips wallet new"}
	}
	text, err = json.MarshalIndent(b, "", "  ")
	return append(text, '\n'), accounts, err
}

// Import takes in what Export and Backup gave. name is that of an exported account; a backup names its own.
// Accounts that are here already are left as they are.
func (k *Keys) Import(name string, text []byte, passphrase string) ([]Account, error) {
	list := []saved{{Account{Name: name}, string(text)}}
	if text := strings.TrimSpace(string(text)); strings.HasPrefix(text, "{") {
		var b backup
		if err := json.Unmarshal([]byte(text), &b); err != nil || b.Format != backupFormat {
			return nil, &job.Failure{Code: job.CodeUsage, Message: "this file is no backup of a wallet", Hint: "hpips wallet backup and hpips wallet export write what import reads"}
		}
		list = b.Accounts
	}
	var in []Account
	for _, s := range list {
		a, err := k.take(s, passphrase)
		if err != nil {
			return in, err
		}
		in = append(in, a)
	}
	return in, nil
}

func (k *Keys) take(s saved, passphrase string) (Account, error) {
	secret, _, err := sdkcrypto.UnarmorDecryptPrivKey(s.Armor, passphrase)
	if err != nil {
		if errors.Is(err, sdkerrors.ErrWrongPassword) {
			return Account{}, &job.Failure{Code: job.CodeUsage, Message: "wrong passphrase", Hint: "it is the one that was given when the file was written"}
		}
		return Account{}, &job.Failure{Code: job.CodeUsage, Message: "this file holds no account that can be read", Hint: "hpips wallet backup and hpips wallet export write what import reads"}
	}
	key, ok := secret.(*secp256k1.PrivKey)
	if !ok {
		return Account{}, &job.Failure{Code: job.CodeUsage, Message: "this key is of another kind than this chain's accounts", Hint: "accounts have secp256k1 keys"}
	}
	if all, err := k.List(); err != nil {
		return Account{}, err
	} else if i := slices.IndexFunc(all, func(a Account) bool { return a.Address == addressText(key.PubKey().Address()) }); i >= 0 {
		return all[i], nil
	}
	return k.Put(s.Name, &Secret{key})
}
