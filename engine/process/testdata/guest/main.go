// Command guest does the acts of enginetest.Guestbook as a native program.
package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

var counted int

func main() {
	if err := act(os.Args[1:]); err != nil {
		fmt.Fprint(os.Stderr, err)
		os.Exit(1)
	}
}

func act(args []string) error {
	switch args[0] {
	case "exit":
		code, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		os.Exit(code)
	case "cat":
		_, err := io.Copy(os.Stdout, os.Stdin)
		return err
	case "index":
		_, err := os.Stdout.WriteString(os.Getenv("HPIPS_INDEX"))
		return err
	case "count":
		counted++
		_, err := fmt.Print(counted)
		return err
	case "spin":
		fmt.Print("spinning")
		for n := 0; ; n++ {
			counted ^= n
		}
	case "flood":
		for b := make([]byte, 32<<10); ; {
			if _, err := os.Stdout.Write(b); err != nil {
				return err
			}
		}
	case "grow":
		for kept := [][]byte{}; ; {
			b := make([]byte, 1<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			kept = append(kept, b)
		}
	case "take": // so many MiB of memory
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		b := make([]byte, n<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		fmt.Print(len(b))
	case "spin on all":
		fmt.Print("spinning")
		for range 4 {
			go func() {
				for n := 0; ; n++ {
					counted ^= n
				}
			}()
		}
		select {}
	case "store": // so many MiB in files of one
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		for i := range n {
			if err := os.WriteFile(fmt.Sprint("/out/", i), make([]byte, 1<<20), 0o600); err != nil {
				return err
			}
		}
	case "get":
		return get(args[1])
	case "trap":
		syscall.Kill(os.Getpid(), syscall.SIGKILL) // as the kernel does with who reads where nothing is
		select {}
	case "read":
		b, err := os.ReadFile(args[1])
		if err != nil {
			return err
		}
		_, err = os.Stdout.Write(b)
		return err
	case "write":
		if err := os.MkdirAll(filepath.Dir(args[1]), 0o700); err != nil {
			return err
		}
		return os.WriteFile(args[1], []byte(args[2]), 0o600)
	case "fill":
		for n := 1; ; n *= 2 {
			if err := os.WriteFile(args[1], make([]byte, n), 0o600); err != nil {
				return err
			}
		}
	default:
		os.Exit(99)
	}
	return nil
}

// get prints what is at an address, by the proxy that the environment names, also for this machine's own.
func get(address string) error {
	way := http.DefaultTransport.(*http.Transport).Clone()
	if at := os.Getenv("http_proxy"); at != "" {
		proxy, err := url.Parse(at)
		if err != nil {
			return err
		}
		way.Proxy = http.ProxyURL(proxy)
	}
	resp, err := (&http.Client{Transport: way}).Get(address)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, b)
	}
	_, err = os.Stdout.Write(b)
	return err
}
