package storetest

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Line is what lies between two machines, here between two ports of one.
type Line struct {
	Delay time.Duration // of each byte, in each direction
	Rate  int           // bytes a second that one connection carries in each direction; 0 is as many as come
}

// Before puts a TCP proxy with such a line before the address, until the test ends.
func (line Line) Before(t testing.TB, to multiaddr.Multiaddr) multiaddr.Multiaddr {
	t.Helper()
	target, err := manet.ToNetAddr(to)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	open := []net.Conn{}
	all.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", target.String())
			if err != nil {
				near.Close()
				continue
			}
			mu.Lock()
			open = append(open, near, far)
			mu.Unlock()
			all.Go(func() { line.carry(far, near) })
			all.Go(func() { line.carry(near, far) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	addr, err := manet.FromNetAddr(l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

type parcel struct {
	data []byte
	due  time.Time
}

// carry copies from one to the other, each piece at its due time.
func (line Line) carry(to, from net.Conn) {
	queue := make(chan parcel, 1<<14)
	go func() {
		defer close(queue)
		var sent time.Time // when the line has taken all that came before
		for {
			data := make([]byte, 64<<10)
			n, err := from.Read(data)
			if n > 0 {
				if now := time.Now(); sent.Before(now) {
					sent = now
				}
				if line.Rate > 0 {
					sent = sent.Add(time.Duration(n) * time.Second / time.Duration(line.Rate))
				}
				queue <- parcel{data[:n], sent.Add(line.Delay)}
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range queue {
		<-time.After(time.Until(p.due))
		if _, err := to.Write(p.data); err != nil {
			break
		}
	}
	to.Close()
	from.Close()
	for range queue { // the reader ends with its connection
	}
}
