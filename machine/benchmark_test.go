package machine

import (
	"os"
	"testing"
	"time"
)

func TestMeasure(t *testing.T) {
	dir := t.TempDir()
	b, err := Measure(t.Context(), dir, 600*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]float64{"hash": b.One.Hash, "hash of all": b.All.Hash, "matrix": b.One.Matrix, "matrix of all": b.All.Matrix, "memory": b.Memory, "written": b.Written, "read": b.Read} {
		if v <= 0 {
			t.Errorf("%s: %v a second", name, v)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%d files are left, %v", len(left), err)
	}
	if b.Class != Class() || b.Speed == "" {
		t.Errorf("%+v", b)
	}
	if _, err := Measure(t.Context(), dir+"/nowhere", 60*time.Millisecond); err == nil {
		t.Error("a folder that is not there was measured")
	}
}

func TestClassesOfSpeed(t *testing.T) {
	for rate, want := range map[float64]string{0: "S0", 1e7: "S0", 1e8: "S0", 1.99e8: "S0", 2e8: "S1", 1e9: "S3", 1e11: "S9"} {
		if got := speed(Rates{Matrix: rate}); got != want {
			t.Errorf("%g operations a second are %s, want %s", rate, got, want)
		}
	}
}
