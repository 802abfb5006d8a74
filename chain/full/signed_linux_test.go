package full

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// signing is where the program that is looked at finds the home in which it signs; with a word behind the colon it forgets to sync.
const signing = "HPIPS_TEST_SIGNING"

// A PC may lose its power in the moment after its vote has left. The kernel's own account of what the program asked of it says that the records of the vote, their names and all, were
// on the disk by then. The control: a program that writes the same and asks for nothing is found out.
func TestAVoteIsOnTheDiskBeforeItLeaves(t *testing.T) {
	if where := os.Getenv(signing); where != "" {
		signs(t, where)
		return
	}
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("strace, which asks the kernel, is not installed: etc/setup.sh does it")
	}
	home, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if wrong := unsynced(t, home, home); wrong != "" {
		t.Error(wrong)
	}
	if wrong := unsynced(t, home, home+":forgets"); !strings.Contains(wrong, voteFile) {
		t.Errorf("who syncs nothing is said to have done this: %q", wrong)
	}
}

// signs is the program that is looked at.
func signs(t *testing.T, where string) {
	home, forgets, _ := strings.Cut(where, ":")
	epoch := uint64(1)
	s := guarded(t, home, &epoch)
	fmt.Println("asked")
	if forgets == "" {
		if err := s.SignVote(testChain, vote(5, "one")); err != nil {
			t.Fatal(err)
		}
	} else {
		name := filepath.Join(home, voteFile)
		if err := os.WriteFile(name+"-new", []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(name+"-new", name); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Println("signed")
}

// A line of strace's account: who, what, with which arguments, and what came of it. A call that another one's interrupts has two lines.
var (
	call    = regexp.MustCompile(`^(\d+) +(\w+)\((.*)\) += (-?\d+)`)
	halved  = regexp.MustCompile(`^(\d+) +(\w+)\((.*) <unfinished \.\.\.>$`)
	resumed = regexp.MustCompile(`^(\d+) +<\.\.\. \w+ resumed>(.*)\) += (-?\d+)`)
	quoted  = regexp.MustCompile(`"([^"]*)"`)
	opened  = regexp.MustCompile(`^\d+<([^>]*)>`)
)

// unsynced runs the program under strace and names what was not on the disk when the vote left.
func unsynced(t *testing.T, home, where string) string {
	t.Helper()
	account := filepath.Join(t.TempDir(), "account")
	c := exec.CommandContext(t.Context(), "strace", "-f", "-y", "-o", account, "-e", "trace=openat,write,rename,renameat,renameat2,fsync,fdatasync",
		os.Args[0], "-test.run=^"+t.Name()+"$")
	c.Env = append(os.Environ(), signing+"="+where)
	if said, err := c.CombinedOutput(); err != nil {
		if strings.Contains(string(said), "not permitted") {
			t.Skipf("nobody may look at programs here: %s", said)
		}
		t.Fatalf("%v: %s", err, said)
	}
	text, err := os.ReadFile(account)
	if err != nil {
		t.Fatal(err)
	}
	return look(string(text), home)
}

// look goes through an account.
func look(account, home string) string {
	var (
		asked, renamed bool
		synced         = map[string]bool{} // opened so that each write is on the disk
		dirty          = map[string]bool{} // written, or a folder with a new name in it, and not on the disk
		half           = map[string]string{}
	)
	vote := filepath.Join(home, voteFile)
	for line := range strings.Lines(account) {
		line = strings.TrimSpace(line)
		if m := halved.FindStringSubmatch(line); m != nil {
			half[m[1]] = m[1] + " " + m[2] + "(" + m[3]
			if !strings.Contains(m[3], `"signed`) {
				continue
			}
			line = half[m[1]] + ") = 0" // what the others may see counts from its beginning
		} else if m := resumed.FindStringSubmatch(line); m != nil {
			line = half[m[1]] + m[2] + ") = " + m[3]
		}
		m := call.FindStringSubmatch(line)
		if m == nil || strings.HasPrefix(m[4], "-") {
			continue
		}
		names := quoted.FindAllStringSubmatch(m[3], -1)
		file := ""
		if at := opened.FindStringSubmatch(m[3]); at != nil {
			file = at[1]
		}
		switch m[2] {
		case "openat":
			synced[names[0][1]] = strings.Contains(m[3], "O_SYNC") || strings.Contains(m[3], "O_DSYNC")
		case "fsync", "fdatasync":
			delete(dirty, file)
		case "rename", "renameat", "renameat2":
			from, to := names[0][1], names[1][1]
			dirty[to] = dirty[from]
			delete(dirty, from)
			dirty[filepath.Dir(to)] = true
			renamed = renamed || asked && to == vote
		case "write":
			switch {
			case strings.Contains(m[3], `"asked`):
				asked = true
			case !strings.Contains(m[3], `"signed`):
				dirty[file] = !synced[file]
			case !renamed:
				return voteFile + " was not written"
			case dirty[vote]:
				return voteFile + " is not on the disk"
			case dirty[home]:
				return "the name " + voteFile + " is not on the disk"
			case dirty[filepath.Join(home, recordFile)]:
				return recordFile + " is not on the disk"
			default:
				return ""
			}
		}
	}
	return "no vote left"
}
