package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/node"
	"github.com/hpips/hpips/spec/job"
)

func (s *shell) nodeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "node",
		Short:   "The node of this home: its peers, its health, its log",
		Args:    noArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
		Example: "  hpips node doctor",
	}
	c.AddCommand(s.peersCommand(), s.doctorCommand(), s.logsCommand())
	return c
}

func (s *shell) peersCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "peers",
		Short:   "The nodes that this node is connected to",
		Args:    noArgs,
		Example: "  hpips node peers -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			api, err := s.open()
			if err != nil {
				return err
			}
			defer api.Close()
			peers, err := api.Peers(c.Context())
			if err != nil {
				return err
			}
			told := struct {
				Peers []client.Peer `json:"peers"`
			}{peers}
			return s.show(told, joinNames(peers), func(w io.Writer) {
				fmt.Fprintln(w, "NODE\tLATENCY\tBY\tDIRECTION\tSINCE\tAGENT")
				for _, p := range peers {
					fmt.Fprintf(w, "%s\t%.1f ms\t%s\t%s\t%s\t%s\n", p.Node, p.Millis, p.Transport, p.Direction, p.Since.Local().Format(time.TimeOnly), p.Agent)
				}
			})
		},
	}
}

func joinNames(peers []client.Peer) string {
	names := make([]string, len(peers))
	for i, p := range peers {
		names[i] = p.Node
	}
	return strings.Join(names, "\n")
}

func (s *shell) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "doctor",
		Short:   "Examine the node: sandbox, disk, clock, peers; each finding with its remedy",
		Args:    noArgs,
		Example: "  hpips node doctor",
		RunE: func(c *cobra.Command, _ []string) error {
			api, err := s.open()
			if err != nil {
				return err
			}
			defer api.Close()
			findings, err := api.Doctor(c.Context())
			if err != nil {
				return err
			}
			told := struct {
				OK     bool             `json:"ok"`
				Checks []client.Finding `json:"checks"`
			}{true, findings}
			for _, f := range findings {
				told.OK = told.OK && f.State != "fail"
			}
			err = s.show(told, "", func(w io.Writer) {
				for _, f := range findings {
					fmt.Fprintf(w, "%s\t%s\t%s\n", f.State, f.Name, f.Text)
					if f.Remedy != "" {
						fmt.Fprintf(w, "\t\t→ %s\n", f.Remedy)
					}
				}
			})
			if err == nil && !told.OK {
				return exit(exitHPIPS)
			}
			return err
		},
	}
}

func (s *shell) logsCommand() *cobra.Command {
	lines := 200
	c := &cobra.Command{
		Use:     "logs",
		Short:   "The end of the node's log, also of a node that has stopped",
		Args:    noArgs,
		Example: "  hpips node logs -n 50",
		RunE: func(c *cobra.Command, _ []string) error {
			if lines < 1 {
				return usage(c, fmt.Sprintf("-n %d: want at least one line", lines))
			}
			text, err := node.LogEnd(s.home, lines)
			if errors.Is(err, os.ErrNotExist) {
				return &job.Failure{Code: job.CodeNotFound, Message: "no node has ever run on " + s.home, Hint: "start one with hpips up, or name its home with --home DIR"}
			}
			if err != nil {
				return err
			}
			if !s.formal() {
				_, err = s.out.Write(text)
				return err
			}
			return s.encode(struct {
				Lines []string `json:"lines"`
			}{strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")})
		},
	}
	c.Flags().IntVarP(&lines, "lines", "n", lines, "the last so many lines")
	return c
}
