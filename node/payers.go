package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hpips/hpips/ledger"
)

// payersFile names, beside the spending key, the accounts that the owner of a home said pay for its jobs, one a line, the last one said last. Anybody may
// give a spending key a right, but nobody else than the owner writes here.
const payersFile = "payers"

// mostPayers is how many of them are remembered.
const mostPayers = 8

// NamePayer says that an account pays for the jobs of a home's node from now on, as soon as the account lets it, and as long as it does.
func NamePayer(home, account string) error {
	if err := ledger.CheckAddress(account); err != nil {
		return err
	}
	all, err := namedPayers(home)
	if err != nil {
		return err
	}
	all = append(slices.DeleteFunc(all, func(a string) bool { return a == account }), account)
	all = all[max(0, len(all)-mostPayers):]
	file := filepath.Join(home, "keys", payersFile)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("payers: %w", err)
	}
	return writeWhole(file, []byte(strings.Join(all, "\n")+"\n"))
}

// namedPayers are those accounts, the last one said last.
func namedPayers(home string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(home, "keys", payersFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("payers: %w", err)
	}
	all := slices.DeleteFunc(strings.Fields(string(text)), func(a string) bool { return ledger.CheckAddress(a) != nil })
	return all[max(0, len(all)-mostPayers):], nil
}

// payerOf is the account that pays: the one named last of those that allow it, or else the node's owner; "": none does. Who else gives the node a right
// is not even asked for.
func payerOf(named []string, owner string, allows func(account string) (bool, error)) (string, error) {
	asked := slices.Clone(named)
	slices.Reverse(asked)
	if owner != "" && !slices.Contains(asked, owner) {
		asked = append(asked, owner)
	}
	for _, account := range asked {
		yes, err := allows(account)
		if err != nil {
			return "", err
		}
		if yes {
			return account, nil
		}
	}
	return "", nil
}
