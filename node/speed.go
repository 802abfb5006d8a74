package node

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/hpips/hpips/machine"
)

// speedFile keeps what was measured of this PC, so that quotes tell it.
const speedFile = "benchmark.json"

// maxSpeedFile bounds what is read of it, in bytes.
const maxSpeedFile = 64 << 10

// measured is what a home keeps of a measurement.
type measured struct {
	machine.Benchmark
	CPUs int       `json:"cpus"` // processors that there were
	At   time.Time `json:"at"`
}

// KeepBenchmark writes into a home what was measured of its PC; a running node tells it from its next quote on. A home that is not there keeps nothing, and there is nobody to tell.
func KeepBenchmark(home string, b machine.Benchmark, now time.Time) error {
	if !there(home) {
		return nil
	}
	text, err := json.Marshal(measured{Benchmark: b, CPUs: runtime.NumCPU(), At: now.UTC()})
	if err != nil {
		return err
	}
	return writeWhole(filepath.Join(home, speedFile), append(text, '\n'))
}

// speed is how fast one processor is while all work, in operations a second. That of another machine, whose home was brought here, is none of this one.
func (m measured) speed() uint64 {
	if m.CPUs != runtime.NumCPU() || m.Class != machine.Class() {
		return 0
	}
	if one := m.All.Matrix / float64(m.CPUs); one >= 1 && one < math.MaxInt64 {
		return uint64(one)
	}
	return 0
}

// pacer tells how fast this PC was measured to be.
type pacer struct {
	log  *slog.Logger
	home string

	mu    sync.Mutex
	mark  mark
	speed uint64
}

// now is operations a second; 0: nobody has measured.
func (p *pacer) now() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := markIn(p.home, speedFile)
	if at == p.mark {
		return p.speed
	}
	p.mark, p.speed = at, 0
	if at == (mark{}) {
		return 0
	}
	m, err := readMeasured(filepath.Join(p.home, speedFile))
	if err != nil {
		p.log.Warn("Quotes do not tell how fast this PC is", "err", err, "remedy", "hpips share benchmark")
		return 0
	}
	p.speed = m.speed()
	return p.speed
}

func readMeasured(name string) (m measured, err error) {
	f, err := os.Open(name)
	if err != nil {
		return m, err
	}
	defer f.Close()
	if err := json.NewDecoder(io.LimitReader(f, maxSpeedFile)).Decode(&m); err != nil {
		return m, fmt.Errorf("%s is damaged: %w", name, err)
	}
	return m, nil
}
