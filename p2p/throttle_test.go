package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

const stuff protocol.ID = "/test/stuff"

// pour has one host send to another over some streams at once for a while; it returns how many bytes a second came, from the first on.
func pour(t *testing.T, from, to *Host, streams int, d time.Duration) float64 {
	t.Helper()
	var came atomic.Int64
	first := make(chan time.Time, 1)
	to.Libp2p().SetStreamHandler(stuff, func(s network.Stream) {
		defer s.Close()
		for b := make([]byte, 256<<10); ; {
			n, err := s.Read(b)
			if n > 0 {
				select {
				case first <- time.Now():
				default:
				}
				came.Add(int64(n))
			}
			if err != nil {
				return
			}
		}
	})
	if err := from.Libp2p().Connect(within(t, 20*time.Second), peer.AddrInfo{ID: to.ID(), Addrs: to.Libp2p().Addrs()}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var pouring sync.WaitGroup
	for range streams {
		s, err := from.Libp2p().NewStream(ctx, to.ID(), stuff)
		if err != nil {
			t.Fatal(err)
		}
		pouring.Go(func() {
			defer func() { _ = s.Reset() }()
			for b := make([]byte, 1<<20); ctx.Err() == nil; {
				if _, err := s.Write(b); err != nil {
					return
				}
			}
		})
		context.AfterFunc(ctx, func() { _ = s.Reset() })
	}
	began := <-first
	<-time.After(d)
	rate := float64(came.Load()) / time.Since(began).Seconds()
	cancel()
	pouring.Wait()
	return rate
}

// What goes out, and what comes in, keeps to its rate within a tenth, over one stream or eight, as counted on the other side; the counts of the throttle are the same bytes.
func TestRatesHold(t *testing.T) {
	const rate = 4e6 // bytes a second
	for name, row := range map[string]struct {
		up, down float64 // of alice
		streams  int
	}{"out": {up: rate, streams: 1}, "out, over eight": {up: rate, streams: 8}, "in": {down: rate, streams: 1}, "in, over eight": {down: rate, streams: 8}} {
		t.Run(name, func(t *testing.T) {
			pace := NewThrottle()
			pace.Limit(row.up, row.down)
			alice, bob := newHost(t, "alice", func(c *Config) { c.Throttle = pace }), newHost(t, "bob")
			from, to := alice, bob
			if row.down > 0 {
				from, to = bob, alice
			}
			got := pour(t, from, to, row.streams, 3*time.Second)
			if math.Abs(got/rate-1) > 0.1 {
				t.Errorf("%.2f MB/s, want %.2f within a tenth", got/1e6, rate/1e6)
			}
			sent, received := pace.Moved()
			if n := float64(max(sent, received)); n < 3*0.9*rate {
				t.Errorf("%.1f MB were counted", n/1e6)
			}
			t.Logf("%.3f MB/s of %.3f", got/1e6, rate/1e6)
		})
	}
}

// A gateway's connections keep to the same rates.
func TestRatesHoldForListeners(t *testing.T) {
	const rate = 2e6
	pace := NewThrottle()
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := pace.Listener(plain)
	pace.Limit(rate, 0)
	done := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			done <- err
			return
		}
		_ = c.SetWriteDeadline(time.Now().Add(time.Second)) // what it waits for its turn counts for no deadline
		_, err = c.Write(make([]byte, 3*rate))
		done <- err
		c.Close()
	}()
	c, err := net.Dial("tcp", plain.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	n, err := io.Copy(io.Discard, c)
	took := time.Since(began).Seconds()
	if wrote := <-done; wrote != nil || err != nil || n != 3*rate || math.Abs(float64(n)/took/rate-1) > 0.1 {
		t.Errorf("%d bytes in %.2f s: %v, %v", n, took, wrote, err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// swift is a line that takes everything at once.
type swift struct{ by time.Time }

func (s *swift) Read(b []byte) (int, error)         { return len(b), nil }
func (s *swift) Write(b []byte) (int, error)        { return len(b), nil }
func (s *swift) SetReadDeadline(t time.Time) error  { s.by = t; return nil }
func (s *swift) SetWriteDeadline(t time.Time) error { s.by = t; return nil }

// On a busy line a small message waits for no other; a flood of small ones keeps to the rate.
func TestSmallMessagesGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pace := NewThrottle()
		pace.Limit(1e6, 0)
		line := func() *paced { return &paced{t: pace, line: &swift{}} }
		var pouring sync.WaitGroup
		for range 4 {
			pouring.Go(func() {
				if _, err := line().write(make([]byte, 1e6)); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(time.Second)
		began := time.Now()
		if _, err := line().write(make([]byte, 1000)); err != nil || time.Since(began) > 0 {
			t.Errorf("a small message waits for %v, %v", time.Since(began), err)
		}
		pouring.Wait()
		began = time.Now()
		l := line()
		for range 10_000 {
			if _, err := l.write(make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took < 7*time.Second || took > 11*time.Second {
			t.Errorf("10 MB in small messages took %v at 1 MB/s", took)
		}
	})
}

func TestDeadlinesMoveWithWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pace := NewThrottle()
		pace.Limit(1e6, 0)
		s := &swift{}
		p := &paced{t: pace, line: s}
		by := time.Now().Add(time.Second)
		if err := p.deadline(by, s.SetWriteDeadline, &p.reads, &p.writes); err != nil {
			t.Fatal(err)
		}
		if _, err := p.write(make([]byte, 3e6)); err != nil {
			t.Fatal(err)
		}
		if moved := s.by.Sub(by); moved < 2500*time.Millisecond || moved > 3*time.Second {
			t.Errorf("three seconds of waiting moved the deadline by %v", moved)
		}
		pace.Limit(0, 0)
		before, began := s.by, time.Now()
		if _, err := p.write(make([]byte, 1e9)); err != nil || time.Since(began) > 0 || s.by != before {
			t.Errorf("without a rate it waits for %v: %v", time.Since(began), err)
		}
		if sent, received := pace.Moved(); fmt.Sprint(sent, received) != "1003000000 0" {
			t.Errorf("counted %d out, %d in", sent, received)
		}
		pace.Close("enough")
		if pace.Closed() != "enough" {
			t.Errorf("closed for %q", pace.Closed())
		}
	})
}

// Whoever gives up while a write waits for its turn is heard at once; a deadline that is set meanwhile moves by what is left of the wait.
func TestGivingUpEndsTheWait(t *testing.T) {
	const rate = 4096 // bytes a second, a piece each
	for name, row := range map[string]struct {
		act     func(c net.Conn) error
		want    error
		seconds float64 // until the write is over
	}{
		"an abort":       {func(c net.Conn) error { return c.SetWriteDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded, 0.5},
		"an abort, both": {func(c net.Conn) error { return c.SetDeadline(time.Now()) }, os.ErrDeadlineExceeded, 0.5},
		"the end":        {net.Conn.Close, io.ErrClosedPipe, 0.5},
		"of reads":       {func(c net.Conn) error { return c.SetReadDeadline(time.Unix(1, 0)) }, nil, 10},
		"a later time":   {func(c net.Conn) error { return c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)) }, nil, 10},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				pace := NewThrottle()
				pace.Limit(rate, 0)
				near, far := net.Pipe()
				c := pace.Conn(near)
				var reading sync.WaitGroup
				reading.Go(func() { _, _ = io.Copy(io.Discard, far) }) // it ends with the pipe
				began, failed := time.Now(), make(chan error, 1)
				if err := c.SetDeadline(began.Add(time.Minute)); err != nil {
					t.Fatal(err)
				}
				go func() {
					_, err := c.Write(make([]byte, 10*rate))
					failed <- err
				}()
				time.Sleep(time.Second / 2)
				if err := row.act(c); err != nil {
					t.Fatal(err)
				}
				if err := <-failed; !errors.Is(err, row.want) {
					t.Errorf("the write ends with %v, want %v", err, row.want)
				}
				if took := time.Since(began).Seconds(); math.Abs(took-row.seconds) > 0.01 {
					t.Errorf("it ends after %.2f s, want %.2f", took, row.seconds)
				}
				if row.want == os.ErrDeadlineExceeded {
					if _, err := c.Write([]byte("more")); !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("the abort was taken back: %v", err)
					}
				}
				near.Close()
				far.Close()
				reading.Wait()
			})
		})
	}
}

// A stream that is broken off ends the write that waits for its turn.
func TestResetEndsTheWait(t *testing.T) {
	pace := NewThrottle()
	alice, bob := newHost(t, "alice", func(c *Config) { c.Throttle = pace }), newHost(t, "bob")
	came := make(chan struct{}, 1)
	bob.Libp2p().SetStreamHandler(stuff, func(s network.Stream) {
		_, _ = io.ReadFull(s, make([]byte, 1))
		came <- struct{}{}
		_, _ = io.Copy(io.Discard, s) // it is broken off
	})
	if err := alice.Libp2p().Connect(within(t, 20*time.Second), peer.AddrInfo{ID: bob.ID(), Addrs: bob.Libp2p().Addrs()}); err != nil {
		t.Fatal(err)
	}
	pace.Limit(leastPiece, 0)
	for name, end := range map[string]func(network.Stream) error{"reset": network.Stream.Reset, "with a code": func(s network.Stream) error { return s.ResetWithError(1) }} {
		s, err := alice.Libp2p().NewStream(within(t, 20*time.Second), bob.ID(), stuff)
		if err != nil {
			t.Fatal(err)
		}
		failed := make(chan error, 1)
		go func() {
			_, err := s.Write(make([]byte, 600*leastPiece)) // ten minutes
			failed <- err
		}()
		<-came
		if err := end(s); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-failed:
			if err == nil {
				t.Errorf("%s: all was written", name)
			}
		case <-within(t, 20*time.Second).Done():
			t.Fatalf("%s: the write goes on", name)
		}
	}
}
