package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/machine"
	"github.com/hpips/hpips/node"
	"github.com/hpips/hpips/spec/job"
)

// switchCommand turns sharing on or off for good.
func (s *shell) switchCommand(word string, on bool, long string) *cobra.Command {
	return &cobra.Command{
		Use: word, Short: "Turn sharing " + word + " for good", Long: long, Args: noArgs, Example: "  hpips share " + word,
		RunE: func(c *cobra.Command, _ []string) error {
			if _, err := node.SetShare(s.home, "on", fmt.Sprint(on)); err != nil {
				return err
			}
			return s.tellShare(c.Context())
		},
	}
}

func (s *shell) pauseCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "pause [TIME]",
		Short: "Stop what runs for others where it is, for a while or until hpips share resume",
		Long: `What runs for others stands still when this returns, for the time that is named (30m, 2h) or until hpips share resume. It survives a restart of the node. A lease that
stands still for too long (patience, 5m) is handed back, and its tasks go on elsewhere. Your own jobs go on.`,
		Args:    optional("one time"),
		Example: "  hpips share pause\n  hpips share pause 2h",
		RunE: func(c *cobra.Command, args []string) error {
			var d time.Duration
			if len(args) > 0 {
				var err error
				if d, err = time.ParseDuration(args[0]); err != nil || d < time.Second || d > 365*24*time.Hour {
					return usage(c, fmt.Sprintf("%q is no time for a pause: want one such as 30m or 2h", args[0]))
				}
			}
			return s.order(c.Context(), func(api *client.Client) (client.Share, error) { return api.Pause(c.Context(), d) },
				func() error { return node.Pause(s.home, d, time.Now()) })
		},
	}
}

func (s *shell) resumeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "resume", Short: "End a pause, and finishing", Args: noArgs, Example: "  hpips share resume",
		RunE: func(c *cobra.Command, _ []string) error {
			return s.order(c.Context(), func(api *client.Client) (client.Share, error) { return api.Resume(c.Context()) }, func() error { return node.Resume(s.home) })
		},
	}
}

func (s *shell) finishCommand() *cobra.Command {
	return &cobra.Command{
		Use: "finish", Short: "Take no further lease, let those that are here come to their end, then pause", Args: noArgs, Example: "  hpips share finish",
		RunE: func(c *cobra.Command, _ []string) error {
			return s.order(c.Context(), func(api *client.Client) (client.Share, error) { return api.Finish(c.Context()) }, func() error { return node.Finish(s.home) })
		},
	}
}

// order gives an order to the node, or writes it into the home where no node runs, which heeds it at its next start.
func (s *shell) order(ctx context.Context, tell func(*client.Client) (client.Share, error), write func() error) error {
	api, err := s.open()
	if err != nil {
		if err := write(); err != nil {
			return err
		}
		return s.tellShare(ctx)
	}
	defer api.Close()
	share, err := tell(api)
	if err != nil {
		return err
	}
	return s.showShare(share)
}

// tellShare asks the node what it shares now; where none runs that is nothing.
func (s *shell) tellShare(ctx context.Context) error {
	share, err := s.share(ctx)
	if err != nil {
		return err
	}
	return s.showShare(share)
}

func (s *shell) share(ctx context.Context) (client.Share, error) {
	none := client.Share{Sentence: "This PC shares nothing: no node runs on " + s.home + " (hpips up).", GPUs: []string{}, Devices: []client.ShareDevice{}, Engines: []client.ShareEngine{}, Reasons: []client.ShareReason{}}
	api, err := s.open()
	if err != nil {
		return none, nil //nolint:nilerr // that no node runs is what is told
	}
	defer api.Close()
	share, err := api.Share(ctx)
	var f *job.Failure
	if errors.As(err, &f) && f.Code == job.CodeUnavailable {
		return none, nil
	}
	return share, err
}

func (s *shell) showShare(share client.Share) error {
	return s.show(share, "", func(w io.Writer) { shareLines(w, share) })
}

// shareLines is the sentence, and what ends each reason.
func shareLines(w io.Writer, share client.Share) {
	fmt.Fprintln(w, share.Sentence)
	for _, why := range share.Reasons {
		ends := why.Ends
		if why.Until != nil {
			ends += " (" + why.Until.Local().Format(time.DateTime) + ")"
		}
		fmt.Fprintf(w, "%s\t%s\tuntil: %s\n", why.Kind, why.Effect, ends)
	}
	if share.Of == 0 {
		return
	}
	fmt.Fprintf(w, "presence\t%s\n", presenceText(share))
	if t := share.Readings.Traffic; t != nil {
		most := "no cap"
		if t.Cap > 0 {
			most = "of " + bytesText(t.Cap)
		}
		fmt.Fprintf(w, "traffic\t%s sent, %s received in %s, %s\n", bytesText(t.Sent), bytesText(t.Received), t.Month, most)
	}
	for _, d := range share.Devices {
		state := d.State
		if d.State == "kept" {
			state = "not shared: " + d.Why + "; until: " + d.Ends
		}
		fmt.Fprintf(w, "gpu %d\t%s\t%s\tbusy %s, %s, %s\n", d.Place, machine.GPU{Vendor: d.Vendor, Model: d.Model}.Name(), state, told(d.Busy, percentText), told(d.Temperature, degrees), told(d.Watts, watts))
	}
	for _, e := range share.Engines {
		fmt.Fprintf(w, "%s\t%s\n", e.Name, engineText(e))
	}
	fmt.Fprintf(w, "work\t%s, %s busy\n", job.Several(share.Leases, "lease"), job.Several(share.Busy, "slot"))
}

// meters asks the node what of its PC is used; nil where none runs.
func (s *shell) meters(ctx context.Context) (*client.Meters, error) {
	api, err := s.open()
	if err != nil {
		return nil, nil //nolint:nilerr // that no node runs is told already
	}
	defer api.Close()
	m, err := api.Meters(ctx)
	var f *job.Failure
	if errors.As(err, &f) && f.Code == job.CodeUnavailable {
		return nil, nil
	}
	return &m, err
}

// meterLines tells what HPIPS uses, and what others do.
func meterLines(w io.Writer, m client.Meters) {
	bytes := func(v float64) string { return bytesText(int64(v)) }
	both := func(u client.Use, text func(float64) string) string {
		return "HPIPS " + told(u.Ours, text) + ", others " + told(u.Others, text)
	}
	rate := func(v float64) string { return bytesText(int64(v)) + "/s" }
	fmt.Fprintf(w, "processors\t%s of %d\n", both(m.CPU, percentText), m.Cores)
	fmt.Fprintf(w, "memory\t%s of %s\n", both(m.Memory.Use, bytes), told(m.Memory.Total, bytes))
	fmt.Fprintf(w, "network\tsent: %s; received: %s\n", both(m.Network.Sent, rate), both(m.Network.Received, rate))
	fmt.Fprintf(w, "temperature\t%s\npower\t%s\nbattery\t%s\n", told(m.Temperature, degrees), told(m.Watts, watts), batteryText(m.Battery))
}

func percentText(v float64) string { return fmt.Sprintf("%.0f %%", 100*v) }

func degrees(v float64) string { return fmt.Sprintf("%.0f °C", v) }

func watts(v float64) string { return fmt.Sprintf("%.1f W", v) }

func batteryText(b *client.Battery) string {
	if b == nil {
		return "none, or " + unavailable
	}
	text := "on mains power"
	if b.Discharging {
		text = "in use"
	}
	return text + ", charge " + told(b.Charge, percentText)
}

// engineText says whose programs an engine runs here, and by which command more.
func engineText(e client.ShareEngine) string {
	switch {
	case e.Consent == string(node.Nobody):
		return "nobody's are run; until: hpips share set " + e.Name + " " + string(node.Own)
	case e.Lacking != "":
		return "none can be run: " + e.Lacking
	case e.Closed != "":
		return "your own are run, strangers' are not; until: hpips share set " + e.Name + " " + string(node.Everybody)
	case e.Consent == string(node.Own):
		return "your own and your pool's are run"
	}
	return "everybody's are run"
}

func presenceText(share client.Share) string {
	text := map[string]string{"in-use": "somebody is here", "away": "nobody is here", "headless": "nobody can be here: no screen, no session", "unknown": "nobody tells any more: taken as in use"}[share.Presence]
	if share.Idle != nil {
		text += fmt.Sprintf("; the last key or move of the mouse was %v ago", (time.Duration(*share.Idle * float64(time.Second))).Round(time.Second))
	}
	return text
}
