package machine

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// What programs of macOS write is read here, so that any system can test it.

var charge = regexp.MustCompile(`\s(\d{1,3})%;`)

// pmset reads "pmset -g batt": "Now drawing from 'Battery Power'", then a line for each battery with its charge.
func pmset(text string) *Battery {
	if !strings.Contains(text, "InternalBattery") {
		return nil
	}
	b := &Battery{Discharging: strings.Contains(text, "'Battery Power'")}
	if m := charge.FindStringSubmatch(text); m != nil {
		b.Charge = scaled(m[1], 100)
	}
	return b
}

var hidIdle = regexp.MustCompile(`"HIDIdleTime"\s*=\s*(\d+)`)

// ioreg reads "ioreg -c IOHIDSystem": the time since the last input, in nanoseconds.
func ioreg(text string) (time.Duration, bool) {
	m := hidIdle.FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	return time.Duration(n), err == nil
}
