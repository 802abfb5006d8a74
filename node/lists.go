package node

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/engine/container"
	"github.com/hpips/hpips/engine/process"
	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/market"
	"github.com/hpips/hpips/spec/job"
)

// Side is a side of the market that has lists of its own: a section of config.toml.
type Side string

// The sides.
const (
	Buying  Side = "requester" // who may work for this node
	Selling Side = "provider"  // for whom it works
)

// maxEntries bounds each list.
const maxEntries = 1024

// list is where a configuration keeps the lists of a side.
func (c *Config) list(s Side) *market.List {
	if s == Selling {
		return &c.Selling
	}
	return &c.Buying
}

var ownerForm = regexp.MustCompile(`^owner-[0-9a-f]{24}$`)

// checkEntry says what is wrong with an entry of a side's lists.
func checkEntry(s Side, entry string) error {
	wrong := func(message, hint string) error {
		return &job.Failure{Code: job.CodeUsage, Message: message, Hint: hint}
	}
	switch label, _ := strings.CutPrefix(entry, "network:"); market.KindOf(entry) {
	case market.NetworkEntry:
		if s == Selling {
			return wrong(entry+" cannot be on a provider's list: it does not know the networks of who asks it", "name the requester's node (hpips status there), or the account that pays for it")
		}
		if label == "" || len(label) > 256 || strings.ContainsFunc(label, unreadable) {
			return wrong(fmt.Sprintf("%q names no network", entry), "write network:LABEL; hpips market providers shows the labels")
		}
	case market.AccountEntry:
		if strings.HasPrefix(entry, "owner-") && !ownerForm.MatchString(entry) {
			return wrong(fmt.Sprintf("%q is no owner", entry), "copy it from hpips market providers")
		}
		if !strings.HasPrefix(entry, "owner-") && ledger.CheckAddress(entry) != nil {
			return wrong(fmt.Sprintf("%q is no account of the chain", entry), "copy it whole: an account looks like hpips1…, see hpips market providers")
		}
	default:
		if p, err := peer.Decode(entry); err != nil || p.String() != entry {
			return wrong(fmt.Sprintf("%q is no node, account or network", entry), "a node looks like 12D3Koo…, an account like hpips1…, a network like network:lan: see hpips market providers")
		}
	}
	return nil
}

func unreadable(r rune) bool { return !unicode.IsPrint(r) }

// checkLists says what is wrong with the lists.
func (c Config) checkLists() error {
	for _, s := range []Side{Buying, Selling} {
		l := c.list(s)
		for name, entries := range map[string][]string{"allow": l.Allow, "deny": l.Deny} {
			if len(entries) > maxEntries {
				return &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("%s.%s has %d entries", s, name, len(entries)), Hint: fmt.Sprintf("%d fit; a network or an owner stands for all its nodes", maxEntries)}
			}
			for _, entry := range entries {
				if err := checkEntry(s, entry); err != nil {
					var f *job.Failure
					errors.As(err, &f)
					return &job.Failure{Code: f.Code, Message: fmt.Sprintf("%s.%s: %s", s, name, f.Message), Hint: f.Hint}
				}
			}
		}
	}
	return nil
}

// lists are a home's lists, and what its owner agrees to, as its configuration has them now, so that a change is heeded without a restart.
type lists struct {
	log  *slog.Logger
	home string

	mu   sync.Mutex
	mark mark
	cfg  Config
}

// mark tells one state of a file from another.
type mark struct {
	at   time.Time
	size int64
}

func newLists(log *slog.Logger, cfg Config) *lists {
	return &lists{log: log, home: cfg.Home, mark: markOf(cfg.Home), cfg: cfg}
}

func markOf(home string) mark { return markIn(home, ConfigFile) }

func markIn(home, name string) mark {
	fi, err := os.Stat(filepath.Join(home, name))
	if err != nil {
		return mark{}
	}
	return mark{fi.ModTime(), fi.Size()}
}

// now is the configuration with the lists and consents of now. A file that cannot be read leaves them as they are.
func (l *lists) now() Config {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := markOf(l.home); now != l.mark {
		l.mark = now
		cfg, err := Load(l.home)
		if err == nil {
			err = cfg.checkLists()
		}
		if err != nil {
			l.log.Warn("Lists stay as they were", "err", err)
		} else {
			l.cfg.Buying, l.cfg.Selling, l.cfg.Native, l.cfg.Containers = cfg.Buying, cfg.Selling, cfg.Native, cfg.Containers
		}
	}
	return l.cfg
}

func (l *lists) buying() market.List  { return l.now().Buying }
func (l *lists) selling() market.List { return l.now().Selling }

func (l *lists) consent(engine string) Consent {
	if engine != process.Name && engine != container.Name {
		return "" // no file is looked at for what needs no consent
	}
	return l.now().Consent(engine)
}

// Verb is what is done with an entry of a list.
type Verb string

// The verbs.
const (
	Allow  Verb = "allow"
	Deny   Verb = "deny"
	Forget Verb = "forget"
)

// Relist changes the lists of a home's configuration: an entry is allowed, denied, or on neither list any more. Everything else in the file stays as it is
// written. It returns the lists, and whether anything changed.
func Relist(home string, s Side, do Verb, entry string) (market.List, bool, error) {
	if do != Forget { // what is on a list can always be taken off
		if err := checkEntry(s, entry); err != nil {
			return market.List{}, false, err
		}
	}
	name := filepath.Join(home, ConfigFile)
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) && there(home) {
		text, err = []byte(template), nil
	}
	if err != nil {
		return market.List{}, false, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("there is no home in %s: %v", home, err), Hint: "start a node there first: hpips up --home " + home}
	}
	before := Default(home)
	if err := before.read(text); err != nil {
		return market.List{}, false, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("%s: %v", name, err), Hint: "correct it first"}
	}
	after := before
	l := after.list(s)
	without := func(list []string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(e string) bool { return e == entry })
	}
	allow, deny := without(l.Allow), without(l.Deny)
	switch do {
	case Allow:
		allow = append(allow, entry)
	case Deny:
		deny = append(deny, entry)
	}
	if len(allow) == len(l.Allow) && len(deny) == len(l.Deny) {
		return *l, false, nil
	}
	if !slices.Equal(allow, l.Allow) {
		text = setList(text, string(s), "allow", allow)
	}
	if !slices.Equal(deny, l.Deny) {
		text = setList(text, string(s), "deny", deny)
	}
	l.Allow, l.Deny = allow, deny
	if err := after.checkLists(); err != nil {
		return market.List{}, false, err
	}
	again := Default(home)
	if err := again.read(text); err != nil || !reflect.DeepEqual(again, after) {
		return market.List{}, false, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("%s is written in a way that this command does not change: %v", name, err),
			Hint: fmt.Sprintf("write it by hand: [%s] allow = [], deny = []", s)}
	}
	return *l, true, writeWhole(name, text)
}

var header = regexp.MustCompile(`^\s*\[`)

// setList writes a list of texts below a section of a TOML file, in place of the one that is there, and leaves all else as it is.
func setList(text []byte, section, key string, values []string) []byte {
	return setLine(text, section, key, textList(values))
}

// setLine writes a value below a section of a TOML file, in place of the one that is there, and leaves all else as it is.
func setLine(text []byte, section, key, literal string) []byte {
	line := key + " = " + literal
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	begin := slices.IndexFunc(lines, func(l string) bool {
		before, _, _ := strings.Cut(l, "#")
		return strings.TrimSpace(before) == "["+section+"]"
	})
	if begin < 0 {
		return []byte(strings.Join(append(lines, "", "["+section+"]", line), "\n") + "\n")
	}
	from := begin + 1
	for i := from; i < len(lines) && !header.MatchString(lines[i]); i++ {
		name, rest, is := strings.Cut(lines[i], "=")
		if !is || strings.TrimSpace(name) != key {
			continue
		}
		last := i
		if !strings.HasPrefix(strings.TrimSpace(rest), "[") {
			return []byte(strings.Join(slices.Replace(lines, i, i+1, line+remark(rest)), "\n") + "\n")
		}
		depth, comment, done := brackets(rest, 0)
		for !done && last+1 < len(lines) { // to the end of the array
			last++
			depth, comment, done = brackets(lines[last], depth)
		}
		return []byte(strings.Join(slices.Replace(lines, i, last+1, line+comment), "\n") + "\n")
	}
	return []byte(strings.Join(slices.Insert(lines, from, line), "\n") + "\n")
}

// remark is what stands behind a value that is not an array, from the spaces before its # on.
func remark(rest string) string {
	quote, escaped := rune(0), false
	for i, c := range rest {
		switch {
		case escaped:
			escaped = false
		case quote != 0:
			escaped = c == '\\' && quote == '"'
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '#':
			return strings.Repeat(" ", i-len(strings.TrimRight(rest[:i], " \t"))) + strings.TrimRight(rest[i:], " \t\r")
		}
	}
	return ""
}

// brackets follows an array of texts through a line, at the depth of the line before. done is true where it ends there; what stands behind it is rest.
func brackets(line string, depth int) (now int, rest string, done bool) {
	quote, escaped := rune(0), false
	for i, c := range line {
		switch {
		case escaped:
			escaped = false
		case quote != 0:
			escaped = c == '\\' && quote == '"'
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '#':
			return depth, "", false
		case c == '[':
			depth++
		case c == ']':
			if depth--; depth == 0 {
				return 0, strings.TrimRight(line[i+1:], " \t\r"), true
			}
		}
	}
	return depth, "", false
}
