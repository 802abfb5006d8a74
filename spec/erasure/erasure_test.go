package erasure

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/hpips/hpips/spec/spectest"
)

// What is held how, when its owner does not say: the rows of the rule and of its edges.
func TestDefault(t *testing.T) {
	for _, row := range []struct {
		bytes           uint64
		eligible, nodes int
		want            string
	}{
		{20 << 20, 1000, 1000, "RS(20,60)"}, {1 << 20, 200, 200, "RS(20,60)"}, {1 << 40, 60, 200, "RS(20,60)"},
		{1 << 20, 199, 199, "RS(10,30)"}, {1 << 20, 30, 30, "RS(10,30)"}, {1 << 20, 59, 200, "RS(10,30)"},
		{1 << 40, 29, 1000, "6 copies"}, {1<<20 - 1, 1000, 1000, "6 copies"}, {0, 1000, 1000, "6 copies"}, {1 << 40, 6, 6, "6 copies"},
		{1 << 40, 5, 5, "5 copies"}, {7, 1, 1, "1 copy"},
	} {
		if s := Default(row.bytes, row.eligible, row.nodes); s.String() != row.want || s.Check() != nil {
			t.Errorf("%d bytes, %d eligible of %d nodes: %v, want %s: %v", row.bytes, row.eligible, row.nodes, s, row.want, s.Check())
		}
	}
	if s := Default(1<<40, 0, 1000); s != (Scheme{}) || !errors.Is(s.Check(), ErrScheme) {
		t.Errorf("nobody is eligible: %v", s)
	}
}

// No default asks for more holders than there are, and none falls below what fewer nodes have.
func TestDefaultCanBePlaced(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := rapid.IntRange(1, 400).Draw(t, "nodes")
		eligible := rapid.IntRange(1, nodes).Draw(t, "eligible")
		s := Default(rapid.Uint64Range(0, 2<<20).Draw(t, "bytes"), eligible, nodes)
		if err := s.Check(); err != nil || s.Pieces > eligible || s.Parity() < min(Copies, eligible)-1 {
			t.Fatalf("%v for %d holders: %v", s, eligible, err)
		}
	})
}

// What people type is what they read, and what cannot be is refused with a word about what can.
func TestParse(t *testing.T) {
	for _, row := range []struct{ flag, text, want, says string }{
		{"--copies", "1", "--copies 1", ""}, {"--copies", "255", "--copies 255", ""}, {"--rs", "20/60", "--rs 20/60", ""}, {"--rs", "254/255", "--rs 254/255", ""}, {"--rs", "1/6", "--copies 6", ""},
		{"--copies", "0", "", "1 to 255"}, {"--copies", "256", "", "1 to 255"}, {"--copies", "06", "", "1 to 255"}, {"--copies", "-1", "", "1 to 255"}, {"--copies", "", "", "1 to 255"}, {"--copies", "six", "", "1 to 255"},
		{"--rs", "20", "", "20/60"}, {"--rs", "20/", "", "20/60"}, {"--rs", "/60", "", "20/60"}, {"--rs", "20/60/3", "", "20/60"}, {"--rs", "20 / 60", "", "20/60"}, {"--rs", "+2/6", "", "20/60"}, {"--rs", "99999/100000", "", "20/60"},
		{"--rs", "0/6", "", "at least 1"}, {"--rs", "6/6", "", "below"}, {"--rs", "60/20", "", "below"}, {"--rs", "20/256", "", "1 to 255"},
	} {
		parse := map[string]func(string) (Scheme, error){"--copies": ParseCopies, "--rs": ParseCode}[row.flag]
		s, err := parse(row.text)
		switch {
		case row.want != "" && (err != nil || s.Flag() != row.want):
			t.Errorf("%s %s: %v, %v", row.flag, row.text, s.Flag(), err)
		case row.want == "" && (!errors.Is(err, ErrScheme) || s != (Scheme{}) || !strings.Contains(err.Error(), row.says) || !strings.HasPrefix(err.Error(), row.flag)):
			t.Errorf("%s %s: %v, %v", row.flag, row.text, s, err)
		}
	}
	for _, s := range []Scheme{{}, {0, 6}, {-1, 6}, {2, 1}, {6, 6}, {1, 256}} {
		if err := s.Check(); !errors.Is(err, ErrScheme) {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"6", "20/60", "1/2", "255", "0/0", "٣/٦"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, parse := range []func(string) (Scheme, error){ParseCopies, ParseCode} {
			s, err := parse(text)
			if err != nil {
				continue
			}
			if s.Check() != nil || !strings.HasSuffix(s.Flag(), " "+text) && s.Need != 1 {
				t.Fatalf("%q is %+v", text, s)
			}
		}
	})
}

// TestVectors holds the rule against testdata, so that another implementation can check itself.
func TestVectors(t *testing.T) {
	spectest.Vectors(t, map[string]func(*testing.T) any{"defaults": func(*testing.T) any {
		type vector struct {
			Bytes    uint64 `json:"bytes"`
			Eligible int    `json:"eligible"`
			Nodes    int    `json:"nodes"`
			Need     int    `json:"need"`
			Pieces   int    `json:"pieces"`
		}
		var all []vector
		for _, bytes := range []uint64{0, 1<<20 - 1, 1 << 20, 1 << 40} {
			for _, nodes := range []int{1, 6, 29, 30, 59, 60, 199, 200, 10_000} {
				for _, eligible := range []int{0, 1, 5, 29, 30, 59, 60, 10_000} {
					if eligible <= nodes {
						s := Default(bytes, eligible, nodes)
						all = append(all, vector{bytes, eligible, nodes, s.Need, s.Pieces})
					}
				}
			}
		}
		return all
	}})
}
