package p2p

import (
	"bufio"
	"bytes"
	"errors"
	"testing"
	"time"
	"unicode/utf8"
)

// still is a wire that gives the bytes it holds and then ends.
type still struct{ *bytes.Reader }

func (still) Write(p []byte) (int, error)      { return len(p), nil }
func (still) SetReadDeadline(time.Time) error  { return nil }
func (still) SetWriteDeadline(time.Time) error { return nil }
func (still) Close() error                     { return nil }
func (still) Reset() error                     { return nil }

func FuzzFrames(f *testing.F) {
	f.Add(frames(hello{Version: 1, Name: "work", Self: 1}, dataFrame(1, "one"), dataFrame(2, "")))
	f.Add(appendText(nil, frameRefuse, "no"))
	f.Add([]byte{frameData, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newFrameReader(still{bytes.NewReader(b)}, time.Hour)
		used := 0
		for {
			ready := r.ready()
			kind, seq, body, err := r.next()
			if err != nil {
				if ready && !errors.Is(err, errFrame) {
					t.Fatalf("a frame that was whole does not read: %v", err)
				}
				return
			}
			again := appendHead(nil, kind, len(body))
			if kind == frameData {
				again = dataFrame(seq, string(body))
			} else if kind == frameAck {
				again = append(appendHead(nil, kind, seqSize), b[used+frameHead:used+frameHead+seqSize]...)
			} else {
				again = append(again, body...)
			}
			if !bytes.Equal(again, b[used:used+len(again)]) {
				t.Fatalf("frame reads back as % x, was % x", again, b[used:])
			}
			used += len(again)
		}
	})
}

func FuzzHello(f *testing.F) {
	for _, h := range []hello{
		{Version: 1, Name: "work", Opener: true, Self: 5, Dial: 1},
		{Version: 1, Name: "a-b", Self: 5, Known: 6, Received: 3, Acked: 2, Last: linkID{Opener: true, N: 4}},
	} {
		b, err := encode(h)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHello(b)
		if err != nil {
			return
		}
		again, err := encode(h)
		if err != nil {
			t.Fatal(err)
		}
		if h2, err := parseHello(again); err != nil || h2 != h {
			t.Fatalf("%+v reads back as %+v, %v", h, h2, err)
		}
		if len(again) > maxHello {
			t.Fatalf("a hello of %d bytes", len(again))
		}
		_ = settle(standing{attached: true, peer: h.Self, last: h.Last}, h)
	})
}

func FuzzPeersAnswer(f *testing.F) {
	good, err := encode(peersReply{Records: [][]byte{[]byte("x")}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{0x81, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		infos, _ := decodePeers(b)
		for _, ai := range infos {
			if ai.ID.Validate() != nil || len(ai.Addrs) > maxRecordAddrs {
				t.Fatalf("accepted %+v", ai)
			}
		}
		var q peersRequest
		_ = decode(b, &q)
	})
}

func FuzzSized(f *testing.F) {
	f.Add([]byte("\x05hello"), 10)
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), 1<<20)
	f.Fuzz(func(t *testing.T, b []byte, max int) {
		max = min(max&0xffffff, 8<<20) + 1
		got, err := readSized(bufio.NewReader(bytes.NewReader(b)), max)
		if err == nil && (len(got) > max || len(got) > len(b)) {
			t.Fatalf("read %d bytes of %d, limit %d", len(got), len(b), max)
		}
	})
}

func FuzzPrintable(f *testing.F) {
	f.Add("bob \x1b[2J says \xff", 8)
	f.Fuzz(func(t *testing.T, s string, max int) {
		max &= 0xff
		if got := printable(s, max); len(got) > max || !utf8.ValidString(got) || bytes.ContainsAny([]byte(got), "\x1b\n\r\x00\x07") {
			t.Fatalf("%q is not fit for a terminal, or longer than %d", got, max)
		}
	})
}
