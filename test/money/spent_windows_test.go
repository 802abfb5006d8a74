package money

import (
	"testing"
	"time"
)

var start = time.Now()

// spent is the time since the beginning: what else runs on the machine counts, too.
func spent(*testing.T) time.Duration { return time.Since(start) }
