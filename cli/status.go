package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/spec/job"
)

// unready is a status that a job cannot be placed with.
type unready struct {
	client.Status
	Error *job.Failure `json:"error,omitempty"`
}

func (s *shell) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "How the node of this home is; exits with 125 until a job can be placed",
		Args:  noArgs,
		Example: `  hpips status
  hpips status -o json --home /tmp/alice`,
		RunE: func(c *cobra.Command, _ []string) error {
			api, err := s.open()
			if err != nil {
				return err
			}
			defer api.Close()
			st, err := api.Status(c.Context())
			if err != nil {
				return err
			}
			told := unready{Status: st}
			if !st.Ready {
				told.Error = &job.Failure{Code: job.CodeUnavailable, Message: "no node can take a job yet", Hint: "wait a moment, or see hpips node peers and hpips node doctor"}
			}
			if err := s.show(told, st.Node, func(w io.Writer) { statusTable(w, st) }); err != nil {
				return err
			}
			if told.Error != nil {
				if !s.formal() {
					s.complain(told.Error)
				}
				return exit(exitHPIPS)
			}
			return nil
		},
	}
}

func statusTable(w io.Writer, st client.Status) {
	ready := "yes"
	if !st.Ready {
		ready = "no"
	}
	fmt.Fprintf(w, "node\t%s\nversion\t%s\nnetwork\t%s\nready\t%s\nhome\t%s\napi\t%s\n", st.Node, st.Version, st.Network, ready, st.Home, st.API)
	if g := st.Gateway; g != nil {
		fmt.Fprintf(w, "gateway\t%s%s\n", g.URL, map[bool]string{true: ", blocks and CARs alone", false: ""}[g.Trustless])
	}
	fmt.Fprintf(w, "peers\t%d\nslots\t%d, %d running\njobs\t%d, %d active\nstore\t%s, %s\n",
		st.Peers, st.Slots, st.Running, st.Jobs.Total, st.Jobs.Active, job.Several(st.Store.Blocks, "block"), bytesText(st.Store.Bytes))
	fmt.Fprintf(w, "chain\t%s\n", chainText(st.Chain))
	fmt.Fprintf(w, "join by\t%s\n", strings.Join(st.Addresses, "\n\t"))
}

func chainText(c *client.ChainStatus) string {
	switch {
	case c == nil:
		return "none: " + toFollow
	case c.Height == 0 && !c.CatchingUp:
		return c.ID + ", waits for its first block"
	case c.CatchingUp:
		return fmt.Sprintf("%s, catching up at block %d", c.ID, c.Height)
	case c.Seated && c.Seats == 1:
		return fmt.Sprintf("%s, block %d, the only seat", c.ID, c.Height)
	case c.Seated:
		return fmt.Sprintf("%s, block %d, one of %d seats", c.ID, c.Height, c.Seats)
	}
	return fmt.Sprintf("%s, block %d, %s", c.ID, c.Height, job.Several(c.Seats, "seat"))
}
