package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/node"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/money"
)

func (s *shell) marketCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "market",
		Short:   "What work costs now, who sells it, and whom this node deals with",
		Args:    noArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
		Example: "  hpips market offers\n  hpips market quote --cpu 2 --memory 4GiB\n  hpips market report\n  hpips market deny 12D3KooW…",
	}
	c.AddCommand(s.offersCommand("offers", "What the nodes around sell now, the cheapest first", offersTable),
		s.offersCommand("quote", "What an hour of one task costs now: the cheapest offer, the middle and the dearest", quoteTable),
		s.offersCommand("providers", "The nodes around, whose they are, what they have free and what their results were", providersTable),
		s.reportCommand(), s.listsCommand(),
		s.relistCommand(node.Allow, "Let a node, an owner or a network work for this node; where anybody is allowed, only they do",
			"Puts a node (12D3Koo…), an owner (hpips1…) or a network (network:LABEL) on the list of those who may work for this node; where anybody is on it, only they do, and\nthis node itself. With --as provider the list is of those for whom this node works: nodes, and accounts that pay. It is written into config.toml; a running node heeds\nit at once. Leases that were made before go on."),
		s.relistCommand(node.Deny, "Keep a node, an owner or a network from working for this node",
			"Puts a node (12D3Koo…), an owner (hpips1…) or a network (network:LABEL) on the list of those who never work for this node, also where another list allows them. With\n--as provider the list is of those for whom this node never works: nodes, and accounts that pay. It is written into config.toml; a running node heeds it at once.\nLeases that were made before go on."),
		s.relistCommand(node.Forget, "Take a node, an owner or a network off both lists; --record: forget what it did, too",
			"Takes a node, an owner or a network off the lists of those who are allowed and denied. With --record a running node also drops what it saw of that node."))
	return c
}

// offersCommand asks for offers, and shows them in one of several ways.
func (s *shell) offersCommand(use, short string, table func(io.Writer, []client.Offer)) *cobra.Command {
	of := job.Resources{CPU: 1}
	memory, disk := "512MiB", "1GiB"
	gpu := &of.GPU
	c := &cobra.Command{
		Use: use, Short: short, Args: noArgs, Example: "  hpips market " + use + " --cpu 1 --memory 1GiB -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if of.Memory, err = job.ParseSize(memory); err != nil {
				return usage(c, "--memory: "+err.Error())
			}
			if of.Disk, err = job.ParseSize(disk); err != nil {
				return usage(c, "--disk: "+err.Error())
			}
			if gpu.Count = max(gpu.Count, 0); *gpu != (job.GPU{}) && gpu.Count == 0 {
				gpu.Count = 1
			}
			if gpu.Count > job.MaxGPUs || gpu.Vendor != "" && !slices.Contains(job.Vendors, gpu.Vendor) {
				return usage(c, fmt.Sprintf("--gpus %d --gpu-vendor %q: want 1 … %d devices of %s", gpu.Count, gpu.Vendor, job.MaxGPUs, strings.Join(job.Vendors, ", ")))
			}
			if of.CPU < 1 || of.CPU > 1024 {
				return usage(c, fmt.Sprintf("--cpu %d: want 1 … 1024 cores", of.CPU))
			}
			api, err := s.open()
			if err != nil {
				return err
			}
			defer api.Close()
			all, err := api.Offers(c.Context(), of)
			if err != nil {
				return err
			}
			told := struct {
				Offers []client.Offer `json:"offers"`
			}{all}
			return s.show(told, "", func(w io.Writer) { table(w, all) })
		},
	}
	c.Flags().IntVar(&of.CPU, "cpu", of.CPU, "cores of one task")
	c.Flags().StringVar(&memory, "memory", memory, "memory of one task")
	c.Flags().StringVar(&disk, "disk", disk, "disk of one task")
	c.Flags().IntVar(&gpu.Count, "gpus", 0, "graphics devices of one task, of a native program")
	c.Flags().StringVar(&gpu.Model, "gpu-model", "", `words of each device's name, such as "rtx 4090"`)
	c.Flags().StringVar(&gpu.Vendor, "gpu-vendor", "", "maker of each device: "+strings.Join(job.Vendors, ", "))
	c.Flags().Var(sizeFlag(&gpu.Memory), "gpu-memory", "memory of each device")
	return c
}

func offersTable(w io.Writer, all []client.Offer) {
	fmt.Fprintln(w, "PROVIDER\tHPIPS AN HOUR\tSLOTS\tGFLOP/S\tLEASES\tOWNER\tGPUS")
	for _, o := range all {
		if o.Refusal != "" {
			fmt.Fprintf(w, "%s\t\t\t\t\t%s\t\n", o.Provider, o.Refusal)
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%d\t%s\t%s\n", o.Provider, hour(o), o.Slots, speedText(o), o.Load, o.Owner, deviceList(o))
	}
}

// speedText is what one processor does; nothing where nobody has measured.
func speedText(o client.Offer) string {
	if o.Speed == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", float64(o.Speed)/1e9)
}

// deviceList counts the devices of an offer, those that are alike together.
func deviceList(o client.Offer) string {
	var kinds []string
	count := map[string]int{}
	for _, d := range o.GPUs {
		kind := strings.TrimSpace(d.Model)
		if d.Memory > 0 {
			kind += " " + bytesText(int64(d.Memory))
		}
		if count[kind]++; count[kind] == 1 {
			kinds = append(kinds, kind)
		}
	}
	for i, kind := range kinds {
		kinds[i] = fmt.Sprintf("%d × %s", count[kind], kind)
	}
	return strings.Join(kinds, ", ")
}

// hour is what an hour costs; what one's own nodes do is free, whatever others pay for it.
func hour(o client.Offer) string {
	if o.Ours && o.Hour == 0 {
		return "free: yours"
	}
	return money.Amount(o.Hour).String()
}

func quoteTable(w io.Writer, all []client.Offer) {
	var good []client.Offer
	slots := 0
	for _, o := range all {
		switch {
		case o.Refusal != "":
		case o.Ours && o.Hour == 0:
			slots += o.Slots
		default:
			good = append(good, o)
		}
	}
	if slots > 0 {
		fmt.Fprintf(w, "yours\tfree, %s\n", job.Several(slots, "slot"))
	}
	if len(good) == 0 && slots > 0 {
		fmt.Fprintln(w, "nobody else sells that now: see hpips market offers")
		return
	}
	if len(good) == 0 {
		fmt.Fprintf(w, "nobody sells that now (asked: %s): see hpips market offers\n", job.Several(len(all), "node"))
		return
	}
	fmt.Fprintf(w, "cheapest\t%s HPIPS an hour\nmiddle\t%s HPIPS an hour\ndearest\t%s HPIPS an hour\nproviders\t%d of %d\n", money.Amount(good[0].Hour), money.Amount(good[len(good)/2].Hour),
		money.Amount(good[len(good)-1].Hour), len(good), len(all))
}

func providersTable(w io.Writer, all []client.Offer) {
	fmt.Fprintln(w, "PROVIDER\tNETWORK\tSLOTS\tLEASES\tCPU-HOUR\tGIB-HOUR OF MEMORY\tGIB-HOUR OF DISK\tGIB SENT\t3.6T INSTRUCTIONS\tSCORE\tRIGHT\tWRONG\tLOST\tUNVERIFIED\tOWNER")
	for _, o := range all {
		r := client.Record{}
		if o.Record != nil {
			r = *o.Record
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t%.3f\t%d\t%d\t%d\t%d\t%s\n", o.Provider, o.Network, o.Slots, o.Load, money.Amount(o.Rates.CPU), money.Amount(o.Rates.Memory), money.Amount(o.Rates.Disk),
			money.Amount(o.Rates.Sent), money.Amount(o.Rates.Work), o.Score, r.Right, r.Wrong, r.Lost, r.Unverified, owner(o))
	}
}

func owner(o client.Offer) string {
	switch {
	case o.Rests != nil:
		return o.Owner + " (cools off until " + o.Rests.Local().Format(time.DateTime) + ")"
	case o.Ours:
		return o.Owner + " (yours)"
	}
	return o.Owner
}
