package enginetest

import "testing"

// TestCases counts what hostile programs try, and wants no case twice.
func TestCases(t *testing.T) {
	total := 0
	for engine, cases := range map[string][]Case{"native": Native(), "wasm": WASM()} {
		seen := map[string]bool{}
		for _, c := range cases {
			if seen[c.Act] || c.Act == "" || c.Class == "" {
				t.Errorf("%s: %q of %q is there twice, or has no name", engine, c.Act, c.Class)
			}
			seen[c.Act] = true
		}
		t.Logf("%s: %d cases", engine, len(cases))
		total += len(cases)
	}
	t.Logf("%d cases in all", total)
	if total < 200 {
		t.Errorf("%d cases, 200 wanted", total)
	}
}
