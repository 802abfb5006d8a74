// Command judge is a checker that does what its first argument says.
// It promises exit code 0 for a right result and 1 for a wrong one, and crashes where it is told to.
// It is built for the scripts of cli alone.
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

func main() {
	result, err := io.ReadAll(os.Stdin)
	if err != nil {
		panic(err)
	}
	switch os.Args[1] {
	case "says":
		if !bytes.Contains(result, []byte(os.Args[2])) {
			fmt.Fprintf(os.Stderr, "task %s of %s does not say %s\n", os.Getenv("HPIPS_INDEX"), os.Getenv("HPIPS_COUNT"), os.Args[2])
			os.Exit(1)
		}
	case "wrote": // a file that the task kept, with this text
		text, err := os.ReadFile(os.Args[2])
		if err != nil || string(bytes.TrimSpace(text)) != os.Args[3] {
			fmt.Fprintf(os.Stderr, "%s: %q, %v\n", os.Args[2], text, err)
			os.Exit(1)
		}
	case "crash":
		panic("the rules are lost")
	}
}
