package enginetest

import (
	"context"
	"io"
	"strconv"
)

// Acts is a Program that does every act of the Guestbook.
func Acts(ctx context.Context, g *Guest) int {
	args := g.Args()[1:]
	counted := 0
	var err error
	switch args[0] {
	case "exit":
		code, err := strconv.Atoi(args[1])
		if err != nil {
			return 2
		}
		return code
	case "cat":
		err = cat(g)
	case "index":
		err = g.Stdout([]byte(g.Env("HPIPS_INDEX")))
	case "count":
		counted++
		err = g.Stdout([]byte(strconv.Itoa(counted)))
	case "spin":
		err = g.Stdout([]byte("spinning"))
		<-ctx.Done()
	case "flood":
		for err == nil {
			err = g.Stdout(make([]byte, 32<<10))
		}
	case "grow":
		for g.Grow(1 << 20) {
		}
		return 2
	case "trap":
		panic("unreachable")
	case "read":
		var b []byte
		if b, err = g.ReadFile(args[1]); err == nil {
			err = g.Stdout(b)
		}
	case "write":
		err = g.WriteFile(args[1], []byte(args[2]))
	case "fill":
		for n := 1; err == nil; n *= 2 {
			err = g.WriteFile(args[1], make([]byte, n))
		}
	default:
		return 99
	}
	if err != nil {
		if g.Stderr([]byte(err.Error())) != nil {
			return 2
		}
		return 1
	}
	return 0
}

func cat(g *Guest) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := g.Read(buf)
		if n > 0 {
			if err := g.Stdout(buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}
