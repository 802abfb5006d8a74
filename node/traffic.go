package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hpips/hpips/machine"
	"github.com/hpips/hpips/p2p"
	"github.com/hpips/hpips/spec/job"
)

// trafficFile keeps what went over the network this month, so that a restart does not begin it anew.
const trafficFile = "traffic.json"

// saveEvery is how often it is written, where anything went: so much is lost by a crash.
const saveEvery = 10 * time.Second

// slowest is the least rate that can be set: below it, whoever waits for a block gives up before it has come.
const slowest = 1e6 / 8 // bytes a second

// accounts count what goes over the network, month by month.
type accounts struct {
	file           string
	throttle       *p2p.Throttle
	month          machine.Traffic
	sent, received int64 // of the throttle, as they were counted last
	saved          machine.Traffic
	when           time.Time // it was saved
}

// openAccounts goes on with the month that a home has counted. With an error it begins anew.
func openAccounts(home string, t *p2p.Throttle) (*accounts, error) {
	a := &accounts{file: filepath.Join(home, trafficFile), throttle: t}
	text, err := os.ReadFile(a.file)
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	var m machine.Traffic
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err == nil && (m.Sent < 0 || m.Received < 0) {
		err = errors.New("negative counts")
	}
	if err != nil {
		return a, fmt.Errorf("%s: %w", a.file, err)
	}
	a.month, a.saved = m, m
	return a, nil
}

// count takes in what went since it was asked last.
func (a *accounts) count(now time.Time) machine.Traffic {
	sent, received := a.throttle.Moved()
	a.month = a.month.Add(sent-a.sent, received-a.received, now)
	a.sent, a.received = sent, received
	return a.month
}

// save writes the count into the home, now and then or, at the end, at once.
func (a *accounts) save(now time.Time, atOnce bool) error {
	if a.month == a.saved || !atOnce && now.Sub(a.when) < saveEvery {
		return nil
	}
	text, err := json.Marshal(a.month)
	if err != nil {
		return err
	}
	a.when = now
	if err := writeWhole(a.file, append(text, '\n')); err != nil {
		return err
	}
	a.saved = a.month
	return nil
}

// parseRate reads a rate over the network: "20Mbit" or, in bytes a second, "2.5MB"; "0" is any.
func parseRate(text string) (bytes float64, err error) {
	if bits, ok := strings.CutSuffix(text, "bit"); ok {
		for unit, by := range map[string]float64{"k": 1e3, "M": 1e6, "G": 1e9} {
			if n, ok := strings.CutSuffix(bits, unit); ok {
				v, err := strconv.ParseFloat(strings.TrimSpace(n), 64)
				bytes, ok = v*by/8, err == nil
				if ok {
					return checkRate(text, bytes)
				}
			}
		}
		return 0, fmt.Errorf("%q is no rate, such as \"20Mbit\"", text)
	}
	size, err := job.ParseSize(text)
	if err != nil {
		return 0, fmt.Errorf("%q is no rate, such as \"20Mbit\" or, in bytes a second, \"2.5MB\"", text)
	}
	return checkRate(text, float64(size))
}

func checkRate(text string, bytes float64) (float64, error) {
	if bytes != 0 && !(bytes >= slowest && bytes <= 1e12) { // also what is no number
		return 0, fmt.Errorf("%q is no rate that can be kept: 1Mbit at least; 0 is any", text)
	}
	return bytes, nil
}
