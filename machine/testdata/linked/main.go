// Linked calls a function of the C library before and after its own memory is given back.
package main

// #include <stdio.h>
// #include <stdlib.h>
// static void say(const char *s) { fputs(s, stdout); fflush(stdout); }
import "C"

import (
	"fmt"
	"os"

	"github.com/hpips/hpips/machine"
)

func main() {
	C.say(C.CString("before, "))
	if _, err := machine.Trim(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	C.say(C.CString("after\n"))
	C.exit(C.int(len(os.Args) - 1))
}
