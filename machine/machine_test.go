package machine

import (
	"runtime"
	"testing"
)

func TestAliceTakesStockOfHerPC(t *testing.T) {
	v := Read(t.TempDir())
	if v.OS != runtime.GOOS || v.Arch != runtime.GOARCH || v.CPUs < 1 {
		t.Fatalf("the basics are wrong: %+v", v)
	}
	if runtime.GOOS != "linux" {
		t.Skip("memory and disk are read on Linux only")
	}
	if v.MemoryTotal < 64<<20 || v.MemoryAvailable <= 0 || v.MemoryAvailable > v.MemoryTotal {
		t.Errorf("memory: %d available of %d", v.MemoryAvailable, v.MemoryTotal)
	}
	if v.DiskFree <= 0 || v.Kernel == "" {
		t.Errorf("disk %d bytes free, kernel %q", v.DiskFree, v.Kernel)
	}
}

func TestAFolderThatIsNotThereHasNoFigure(t *testing.T) {
	if v := Read("/no/such/folder"); v.DiskFree != 0 {
		t.Errorf("%d bytes free in a folder that is not there", v.DiskFree)
	}
}
