// Command trouble is a program that does what its first argument says and should not.
// It promises to fail the same way each time.
// It is built for the scripts of cli alone.
package main

import (
	"bufio"
	"fmt"
	"os"
)

func main() {
	switch os.Args[1] {
	case "loop":
		for {
		}
	case "memory":
		var held [][]byte
		for {
			page := make([]byte, 8<<20)
			for i := range page {
				page[i] = 1
			}
			held = append(held, page)
		}
	case "much": // 64 MiB
		out := bufio.NewWriterSize(os.Stdout, 1<<20)
		for range 1 << 20 {
			fmt.Fprintf(out, "%063d\n", 0)
		}
		if out.Flush() != nil {
			os.Exit(1)
		}
	case "files":
		if os.MkdirAll("/out/sub", 0o755) != nil || os.WriteFile("/out/sub/f.txt", []byte("kept\n"), 0o644) != nil {
			os.Exit(1)
		}
	}
}
