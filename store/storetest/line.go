package store

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// delayed puts a TCP proxy before the address, which holds every byte back for the given
// time in each direction without limiting the rate.
func delayed(t testing.TB, to multiaddr.Multiaddr, by time.Duration) multiaddr.Multiaddr {
	t.Helper()
	target, err := manet.ToNetAddr(to)
	must(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
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
			all.Go(func() { carry(far, near, by) })
			all.Go(func() { carry(near, far, by) })
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
	must(t, err)
	return addr
}

type parcel struct {
	data []byte
	due  time.Time
}

// carry copies from one to the other, each piece at its due time.
func carry(to, from net.Conn, by time.Duration) {
	queue := make(chan parcel, 1<<14)
	go func() {
		defer close(queue)
		for {
			data := make([]byte, 64<<10)
			n, err := from.Read(data)
			if n > 0 {
				queue <- parcel{data[:n], time.Now().Add(by)}
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
