package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/hpips/hpips/spec/job"
)

// alice sees an image on its way in one line, which is gone before anything that its program says.
func TestImagesOnTheirWay(t *testing.T) {
	var shown bytes.Buffer
	step, end := arrivals(&shown)
	step(job.Status{State: job.Leased})
	if shown.Len() > 0 {
		t.Errorf("without an image it shows %q", shown.String())
	}
	coming := job.Status{State: job.Leased, Coming: &job.Coming{Nodes: 2, Bytes: 3 << 20}}
	step(coming)
	if got := shown.String(); !strings.HasSuffix(got, "image on its way to 2 nodes: 3.0 MiB so far") {
		t.Errorf("it shows %q", got)
	}
	if got := progressLine(coming); !strings.HasSuffix(got, "image on its way to 2 nodes: 3.0 MiB so far") {
		t.Errorf("a map's line is %q", got)
	}
	step(job.Status{State: job.Running})
	end()
	if got := shown.String(); strings.Count(got, "\r\x1b[K") != 2 || !strings.HasSuffix(got, "\r\x1b[K") {
		t.Errorf("the line is not taken off once: %q", got)
	}
}
