package job

import (
	"net/netip"
	"strings"
	"testing"
)

func TestPlacesAreReadStrictly(t *testing.T) {
	for text, want := range map[string]string{
		"example.org": "example.org", "Example.ORG.": "example.org", "*.example.org:8080": "*.example.org:8080", "*": "*", "*:22": "*:22", "localhost": "localhost",
		"192.0.2.7": "192.0.2.7", "192.0.2.0/24:80": "192.0.2.0/24:80", "2001:db8::1": "2001:db8::1", "[2001:db8::1]:443": "[2001:db8::1]:443", "2001:db8::/32": "2001:db8::/32",
		"[2001:db8::/32]:1": "[2001:db8::/32]:1", "::ffff:192.0.2.7": "192.0.2.7", "_dmarc.example.org": "_dmarc.example.org",
	} {
		r, err := ParseReach(text)
		if err != nil || r.String() != want {
			t.Errorf("%s is read as %s, %v", text, r, err)
		}
		if again, err := ParseReach(r.String()); err != nil || again != r {
			t.Errorf("%s is written as %s, and that is read as %v, %v", text, r, again, err)
		}
	}
	for _, text := range []string{"", ".", "*.", "**", "a..b", "-a.org", "a-.org", "a.*", "example.org:", "example.org:0", "example.org:080", "example.org:65536", "http://example.org", "example.org/x", "1.2.3", "256.1.1.1",
		"192.0.2.1/24", "::ffff:192.0.2.0/120", "fe80::1%eth0", "a b", "[example.org]:80", "[example.org", "[::1", "bücher.de", strings.Repeat("a", 64) + ".org", strings.Repeat("a.", 130) + "org"} {
		if r, err := ParseReach(text); err == nil {
			t.Errorf("%q is read as %s", text, r)
		}
	}
	if _, err := ParseReaches(make([]string, MaxReaches+1)); err == nil {
		t.Error("more places than are possible are read")
	}
}

func TestWhatPlacesMean(t *testing.T) {
	rows := []struct {
		place, host string
		port        uint16
		want        bool
	}{
		{"example.org", "EXAMPLE.org.", 443, true}, {"example.org", "example.org", 80, true}, {"example.org", "example.org", 22, false}, {"example.org", "a.example.org", 443, false},
		{"*.example.org", "a.example.org", 443, true}, {"*.example.org", "a.b.example.org", 443, true}, {"*.example.org", "example.org", 443, false}, {"*.example.org", "badexample.org", 443, false},
		{"*", "anything.at.all", 443, true}, {"*:22", "x", 443, false}, {"*:22", "x", 22, true}, {"*", "192.0.2.1", 443, false}, {"192.0.2.0/24", "192.0.2.9", 80, true}, {"192.0.2.0/24", "192.0.3.9", 80, false},
		{"192.0.2.9:5432", "192.0.2.9", 5432, true}, {"2001:db8::/32", "2001:db8::5", 443, true}, {"192.0.2.0/24", "::ffff:192.0.2.1", 443, true},
	}
	for _, row := range rows {
		r, err := ParseReach(row.place)
		if err != nil {
			t.Fatal(err)
		}
		got := r.Named(row.host, row.port)
		if a, err := netip.ParseAddr(row.host); err == nil {
			got = r.Addressed(a, row.port)
		}
		if got != row.want {
			t.Errorf("%s and %s:%d: %v", row.place, row.host, row.port, got)
		}
	}
}

func TestOnePlaceWithinOthers(t *testing.T) {
	rows := []struct {
		place, allowed string
		want           bool
	}{
		{"example.org", "example.org", true}, {"example.org", "*", true}, {"*", "*", true}, {"*", "*.org", false}, {"example.org", "*.org", true}, {"*.example.org", "*.example.org", true},
		{"*.a.example.org", "*.example.org", true}, {"*.example.org", "example.org", false}, {"example.org", "*.example.org", false}, {"*.org", "*.example.org", false},
		{"example.org:443", "example.org", true}, {"example.org", "example.org:443", false}, {"example.org:22", "example.org", false}, {"example.org:22", "*:22", true},
		{"192.0.2.7", "192.0.2.0/24", true}, {"192.0.2.0/24", "192.0.2.7", false}, {"192.0.2.7", "*", false}, {"example.org", "0.0.0.0/0", false}, {"2001:db8::1", "0.0.0.0/0", false}, {"10.0.0.0/8", "0.0.0.0/0", true},
	}
	for _, row := range rows {
		r, err := ParseReach(row.place)
		if err != nil {
			t.Fatal(err)
		}
		a, err := ParseReach(row.allowed)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Within([]Reach{a}); got != row.want {
			t.Errorf("%s within %s: %v", row.place, row.allowed, got)
		}
	}
	if r, err := ParseReach("example.org"); err != nil || r.Within(nil) {
		t.Errorf("nothing allows it: %v", err)
	}
}

func FuzzParseReach(f *testing.F) {
	for _, s := range []string{"example.org", "*.example.org:443", "[::1]:80", "10.0.0.0/8", ":", "[", "*:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseReach(text)
		if err != nil {
			return
		}
		if again, err := ParseReach(r.String()); err != nil || again != r {
			t.Errorf("%q is written as %s, and that is read as %v, %v", text, r, again, err)
		}
		if !r.Within([]Reach{r}) {
			t.Errorf("%s is not within itself", r)
		}
	})
}
