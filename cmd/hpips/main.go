// Command hpips is the daemon and the command line of the HPIPS network.
// It promises the exit codes that docs/cli.md names.
// It leaves everything else to package cli.
package main

import (
	"os"

	"github.com/hpips/hpips/cli"
)

func main() { os.Exit(cli.Main()) }
