package job

import "testing"

func TestOneThingIsNotSeveral(t *testing.T) {
	for want, got := range map[string]string{"0 nodes": Several(0, "node"), "1 node": Several(uint64(1), "node"), "2 nodes": Several(int64(2), "node")} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
