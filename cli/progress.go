package cli

import (
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/hpips/hpips/api/client"
)

// transferBar shows a transfer on a terminal, and nothing elsewhere. end takes it off the screen.
func (s *shell) transferBar(name string) (step func(client.Progress), end func()) {
	if s.formal() || s.quiet || !terminal(s.err) {
		return nil, func() {}
	}
	p := mpb.New(mpb.WithOutput(s.err), mpb.WithWidth(40))
	bar := p.AddBar(0,
		mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(name+"  ")),
		mpb.AppendDecorators(decor.CountersKibiByte("% .1f / % .1f"), decor.AverageSpeed(decor.SizeB1024(0), "  % .1f")))
	step = func(t client.Progress) {
		bar.SetTotal(max(t.Total, t.Bytes+1), false)
		bar.SetCurrent(t.Bytes)
	}
	return step, func() {
		bar.Abort(true)
		p.Wait()
	}
}
