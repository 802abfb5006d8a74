// Command hello greets, and shows all that a program can be given: arguments, standard input, files, an exit code.
// It promises the same output as its sisters hello-c, hello-rust and hello-as.
// Bringing the input to it and the output home is left to HPIPS.
package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

const usage = `usage: hello [NAME...]    greet; then "exit N" ends with that code, "cat PATH" prints a file, "copy" prints standard input`

func main() {
	code, err := run(os.Args[1:], os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintf(os.Stderr, "hello: %v\n", err)
	}
	os.Exit(code)
}

// run does what the arguments say and gives the exit code.
func run(args []string, in io.Reader, out io.Writer) (int, error) {
	verb := ""
	if len(args) > 0 {
		verb = args[0]
	}
	switch {
	case verb == "copy":
		_, err := io.Copy(out, in)
		return codeOf(err), err
	case verb == "cat" && len(args) == 2:
		b, err := os.ReadFile(args[1])
		if err == nil {
			_, err = out.Write(b)
		}
		return codeOf(err), err
	case verb == "exit" && len(args) == 2:
		n, err := strconv.ParseUint(args[1], 10, 7)
		if err != nil {
			return 2, fmt.Errorf("exit %q: want a number from 0 to 127\n%s", args[1], usage)
		}
		return int(n), nil
	}
	name := "world"
	if len(args) > 0 {
		name = strings.Join(args, " ")
	}
	_, err := fmt.Fprintf(out, "hello, %s\n", name)
	return codeOf(err), err
}

func codeOf(err error) int {
	if err != nil {
		return 1
	}
	return 0
}
