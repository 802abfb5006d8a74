// Command boxed is the program of an image: it does what its words say.
package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	word, rest := "", []string(nil)
	if len(os.Args) > 1 {
		word, rest = os.Args[1], os.Args[2:]
	}
	if err := act(word, rest); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func act(word string, rest []string) error {
	switch word {
	case "greet": // what the image itself says to run
		fmt.Println("hello", strings.Join(rest, " "), os.Getenv("GREETING"))
	case "shout":
		b, err := io.ReadAll(os.Stdin)
		if err != nil {
			return err
		}
		fmt.Fprintln(os.Stderr, "a complaint")
		fmt.Print(strings.ToUpper(string(b)))
	case "leave":
		code, err := strconv.Atoi(rest[0])
		if err != nil {
			return err
		}
		os.Exit(code)
	case "copy":
		b, err := os.ReadFile(rest[0])
		if err != nil {
			return err
		}
		return os.WriteFile(rest[1], b, 0o600)
	case "look": // what should not be there or not be possible
		for _, name := range []string{"/home", "/root", "/etc/shadow", "/var/run/docker.sock", "/run/podman"} {
			if _, err := os.Stat(name); err == nil {
				fmt.Println("there is", name)
			}
		}
		if err := os.WriteFile("/new", nil, 0o600); err == nil {
			fmt.Println("the root can be written")
		}
		if list, err := net.Interfaces(); err == nil && len(list) > 1 {
			fmt.Println("there are", len(list), "networks")
		}
		if c, err := net.DialTimeout("tcp", "192.0.2.1:80", time.Second); err == nil {
			c.Close()
			fmt.Println("somebody answers")
		}
		if os.Getuid() == 0 {
			fmt.Println("it is root")
		}
		fmt.Println("nothing of alice")
	case "square":
		n, err := strconv.Atoi(os.Getenv("HPIPS_INDEX"))
		if err != nil {
			return err
		}
		fmt.Println(n * n)
	case "third": // with digits behind the eighth that are another each time
		fmt.Printf("0.33333333%08d\n", rand.IntN(100_000_000))
	default:
		return fmt.Errorf("%q is no word of mine", word)
	}
	return nil
}
