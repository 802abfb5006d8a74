package machine

import "testing"

func TestFieldsOfProcFiles(t *testing.T) {
	text := []byte("MemTotal:       16 kB\nbroken line\nMemAvailable: x kB\nEmpty:\n")
	for _, row := range []struct {
		name string
		want int64
	}{{"MemTotal", 16 << 10}, {"MemAvailable", 0}, {"Empty", 0}, {"Absent", 0}} {
		if got := kib(field(text, row.name)); got != row.want {
			t.Errorf("%s: %d, want %d", row.name, got, row.want)
		}
	}
}
