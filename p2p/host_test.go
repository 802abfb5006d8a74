package p2p

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"
)

// Eight join one address at the same moment; two seconds later all know all.
func TestAllKnowAll(t *testing.T) {
	const n = 8
	first := newHost(t, "node 0")
	hosts := []*Host{first}
	for i := 1; i < n; i++ {
		hosts = append(hosts, newHost(t, fmt.Sprintf("node %d", i), joining(first.Addrs()[0])))
	}
	began := time.Now()
	for _, h := range hosts {
		serve(t, h.Serve)
	}
	eventually(t, 20*time.Second, "every node has every other as a candidate", func() bool {
		for _, h := range hosts {
			if len(h.Candidates()) != n-1 {
				return false
			}
		}
		return true
	})
	t.Logf("%d nodes knew each other after %s", n, time.Since(began).Round(time.Millisecond))
	for _, i := range first.Peers() {
		if i.Agent != "hpips/dev" || i.Transport != "tcp" || len(i.Addrs) == 0 || i.Since.IsZero() {
			t.Errorf("peer %+v", i)
		}
	}
	if len(first.Peers()) != n-1 {
		t.Errorf("%d peers, want %d", len(first.Peers()), n-1)
	}
}

func TestPeersStopAtTheTarget(t *testing.T) {
	first := newHost(t, "node 0")
	var hosts []*Host
	for i := range 5 {
		hosts = append(hosts, newHost(t, fmt.Sprintf("node %d", i+1), joining(first.Addrs()[0])))
		serve(t, hosts[i].Serve)
	}
	modest := newHost(t, "modest", joining(first.Addrs()[0]), func(c *Config) { c.Peers = 1 })
	for _, h := range hosts {
		eventually(t, 20*time.Second, "the others know each other", func() bool { return len(h.Peers()) >= 5 })
	}
	serve(t, modest.Serve)
	eventually(t, 10*time.Second, "modest has joined", func() bool { return len(modest.Peers()) > 0 })
	for _, p := range modest.Peers() {
		if p.Direction == "outbound" && p.ID != first.ID() {
			t.Errorf("dialled %s beyond its target of 1", p.ID)
		}
	}
}

// seal makes a peer record about one person, signed by another or the same.
func seal(t *testing.T, about, by string, addrs ...string) []byte {
	t.Helper()
	rec := &peer.PeerRecord{PeerID: idOf(about), Seq: 1}
	for _, a := range addrs {
		rec.Addrs = append(rec.Addrs, ma.StringCast(a))
	}
	env, err := record.Seal(rec, keyOf(by))
	if err != nil {
		t.Fatal(err)
	}
	b, err := env.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPeersAnswer(t *testing.T) {
	good := seal(t, "bob", "bob", "/ip4/10.1.2.3/tcp/4711")
	broken := slices.Clone(good)
	broken[len(broken)-1] ^= 1
	var many [][]byte
	for range maxRecords + 1 {
		many = append(many, good)
	}
	for _, c := range []struct {
		name    string
		records [][]byte
		want    int
		err     string
	}{
		{"good", [][]byte{good}, 1, ""},
		{"none", nil, 0, ""},
		{"carol lies about bob", [][]byte{good, seal(t, "bob", "carol", "/ip4/10.6.6.6/tcp/1")}, 1, "not signed by it"},
		{"broken signature", [][]byte{broken}, 0, "invalid signature"},
		{"too many", many, 0, "more than 128"},
		{"too long", [][]byte{make([]byte, maxRecord+1)}, 0, "more than the limit"},
		{"garbage", [][]byte{[]byte("garbage")}, 0, "record 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := encode(peersReply{Records: c.records})
			if err != nil {
				t.Fatal(err)
			}
			got, err := decodePeers(b)
			if len(got) != c.want {
				t.Errorf("%d peers, want %d", len(got), c.want)
			}
			checkError(t, err, c.err)
		})
	}
}

func checkError(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("error %v", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("error %v, want one about %q", err, want)
	}
}

func TestPlausible(t *testing.T) {
	all := []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/tcp/1"), ma.StringCast("/ip4/192.168.1.5/tcp/1"), ma.StringCast("/ip4/8.8.8.8/tcp/1")}
	for teller, want := range map[string]int{"/ip4/127.0.0.1/tcp/9": 3, "/ip4/10.0.0.1/tcp/9": 2, "/ip4/9.9.9.9/tcp/9": 1} {
		if got := plausible(slices.Clone(all), ma.StringCast(teller)); len(got) != want {
			t.Errorf("told by %s: %v, want the last %d", teller, got, want)
		}
	}
}

// Alice was given an address where nobody is yet. She keeps trying, and says so.
func TestJoinAddressThatIsDead(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	at := fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", port)
	alice := newHost(t, "alice", joining(at+"/p2p/"+idOf("bob").String()))
	serve(t, alice.Serve)
	eventually(t, 10*time.Second, "a failed try shows", func() bool { j := alice.Joins()[0]; return j.Tries > 0 && j.Error != "" && !j.Connected })
	newHost(t, "bob", func(c *Config) { c.Listen = []string{at} })
	eventually(t, 20*time.Second, "alice has joined", func() bool { j := alice.Joins()[0]; return j.Connected && j.Error == "" })
}

func TestConfigCheck(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"default", func(*Config) {}, ""},
		{"listen is no address", func(c *Config) { c.Listen = []string{"0.0.0.0:4711"} }, "want an address like"},
		{"listen names a peer", func(c *Config) { c.Listen = []string{"/ip4/0.0.0.0/tcp/1/p2p/" + idOf("bob").String()} }, "leave out the /p2p part"},
		{"listen without port", func(c *Config) { c.Listen = []string{"/ip4/0.0.0.0"} }, "neither TCP nor QUIC"},
		{"join is no address", func(c *Config) { c.Join = []string{"bob"} }, "as `hpips up` prints it"},
		{"join names no peer", func(c *Config) { c.Join = []string{"/ip4/10.0.0.1/tcp/4711"} }, "as `hpips up` prints it"},
		{"join names only a peer", func(c *Config) { c.Join = []string{"/p2p/" + idOf("bob").String()} }, "no network address"},
		{"label", func(c *Config) { c.Label = "My Lab" }, "label"},
		{"no peers", func(c *Config) { c.Peers = 0 }, "peers 0"},
		{"little memory", func(c *Config) { c.MemoryLimit = 1 << 20 }, "memory limit"},
		{"no calls", func(c *Config) { c.CallRate = 0 }, "call rate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := Default()
			c.change(&cfg)
			checkError(t, cfg.Check(), c.want)
		})
	}
}

// A second daemon on the same port is told so; libp2p alone would share the port without a word.
func TestPortTaken(t *testing.T) {
	bob := newHost(t, "bob", func(c *Config) { c.Listen = []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"} })
	for _, a := range bob.Addrs() {
		at, _, _ := strings.Cut(a, "/p2p/")
		cfg := loopback()
		cfg.Listen = []string{at}
		second, err := New(quiet(), keyOf("carol"), cfg)
		if err == nil {
			second.Close()
			t.Fatalf("a second host listens on %s", at)
		}
		port := strings.Split(at, "/")[4]
		if s := err.Error(); !strings.Contains(s, "--listen") || !strings.Contains(s, port) {
			t.Errorf("error %q does not name the port %s and --listen", s, port)
		}
	}
}

func TestOverlayIsNeverTold(t *testing.T) {
	overlay := []netip.Prefix{netip.MustParsePrefix("10.77.0.0/16")}
	in, out := ma.StringCast("/ip4/10.77.3.4/tcp/1"), ma.StringCast("/ip4/10.78.3.4/tcp/1")
	if got := without([]ma.Multiaddr{in, out}, overlay); len(got) != 1 || !got[0].Equal(out) {
		t.Errorf("announced: %v, want only %v", got, out)
	}
	g := gater{overlay}
	if g.InterceptAddrDial(idOf("bob"), in) || !g.InterceptAddrDial(idOf("bob"), out) {
		t.Error("the gater dials into the overlay, or not beside it")
	}
}

func TestCandidates(t *testing.T) {
	const quote protocol.ID = "/hpips/quote/1"
	bob := newHost(t, "bob", func(c *Config) { c.IncludeSelf = true })
	alice := newHost(t, "alice", joining(bob.Addrs()[0]))
	serve(t, alice.Serve)
	eventually(t, 10*time.Second, "alice sees bob, not herself", func() bool { return slices.Equal(alice.Candidates(), []peer.ID{bob.ID()}) })
	eventually(t, 10*time.Second, "bob sees alice and himself", func() bool { return len(bob.Candidates()) == 2 })
	if got := alice.Candidates(quote); len(got) != 0 {
		t.Errorf("%v quote, but nobody does", got)
	}
	if err := bob.Handle(quote, 100, func(context.Context, peer.ID, []byte) ([]byte, error) { return nil, nil }); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "alice learns that bob quotes", func() bool { return slices.Equal(alice.Candidates(quote), []peer.ID{bob.ID()}) })
}

const echo protocol.ID = "/hpips/test-echo/1"

// answerEcho repeats what it hears, and does as it is told by some words.
func answerEcho(_ context.Context, from peer.ID, req []byte) ([]byte, error) {
	switch string(req) {
	case "fail":
		return nil, errors.New("bob is\x1b[31m tired")
	case "panic":
		panic("bob trips")
	case "flood":
		return make([]byte, maxReply+1), nil
	case "who":
		return []byte(from), nil
	}
	return req, nil
}

func TestCall(t *testing.T) {
	bob := newHost(t, "bob")
	alice := newHost(t, "alice", joining(bob.Addrs()[0]))
	for _, h := range []*Host{bob, alice} {
		if err := h.Handle(echo, 1<<20, answerEcho); err != nil {
			t.Fatal(err)
		}
	}
	serve(t, alice.Serve)
	eventually(t, 10*time.Second, "alice has joined", func() bool { return len(alice.Peers()) == 1 })
	for _, to := range []*Host{bob, alice} { // a call to oneself is the same
		for _, c := range []struct{ req, want, remote string }{
			{"hello", "hello", ""},
			{"", "", ""},
			{strings.Repeat("x", 1<<20), strings.Repeat("x", 1<<20), ""},
			{strings.Repeat("x", 1<<20+1), "", "more than the limit of 1048576"},
			{strings.Repeat("x", 7<<20), "", "more than the limit of 1048576"},
			{"fail", "", "bob is [31m tired"},
			{"panic", "", "internal error"},
			{"flood", "", "more than the limit of 8388608"},
			{"who", string(alice.ID()), ""},
		} {
			got, err := alice.Call(within(t, 20*time.Second), to.ID(), echo, []byte(c.req))
			var remote *RemoteError
			switch {
			case c.remote == "" && err != nil:
				t.Errorf("call of %.10q: %v", c.req, err)
			case c.remote != "" && (!errors.As(err, &remote) || !strings.Contains(remote.Text, c.remote)):
				t.Errorf("call of %.10q: error %v, want a remote one about %q", c.req, err, c.remote)
			case !bytes.Equal(got, []byte(c.want)):
				t.Errorf("call of %.10q: got %d bytes %.20q", c.req, len(got), got)
			}
		}
		if _, err := alice.Call(within(t, 10*time.Second), to.ID(), "/hpips/nobody/1", nil); err == nil {
			t.Error("a protocol that nobody speaks was answered")
		}
	}
	if err := bob.Handle(echo, 1, answerEcho); err == nil {
		t.Error("two answer the same protocol")
	}
}

func TestCallGivesUpWithItsContext(t *testing.T) {
	bob := newHost(t, "bob")
	alice := newHost(t, "alice", joining(bob.Addrs()[0]))
	serve(t, alice.Serve)
	asked, free := make(chan struct{}), make(chan struct{})
	defer close(free)
	if err := bob.Handle(echo, 10, func(ctx context.Context, _ peer.ID, _ []byte) ([]byte, error) {
		close(asked)
		select {
		case <-free:
		case <-ctx.Done():
		}
		return nil, nil
	}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "alice has joined", func() bool { return len(alice.Peers()) == 1 })
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if _, err := alice.Call(ctx, bob.ID(), echo, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
}

// Carol calls without end; bob tells her that he is busy, and still answers alice.
func TestCallRate(t *testing.T) {
	bob := newHost(t, "bob", func(c *Config) { c.CallRate, c.CallBurst = 0.001, 5 })
	if err := bob.Handle(echo, 10, answerEcho); err != nil {
		t.Fatal(err)
	}
	busy := 0
	for name, calls := range map[string]int{"carol": 9, "alice": 1} {
		h := newHost(t, name)
		h.learn(peer.AddrInfo{ID: bob.ID(), Addrs: bob.Libp2p().Addrs()})
		for range calls {
			_, err := h.Call(within(t, 10*time.Second), bob.ID(), echo, []byte("hi"))
			var remote *RemoteError
			if errors.As(err, &remote) && remote.Busy && name == "carol" {
				busy++
			} else if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if busy != 4 {
		t.Errorf("carol was refused %d times of 9, want 4", busy)
	}
}

func TestBucket(t *testing.T) {
	at := time.Unix(0, 0)
	b := bucket{level: 2, at: at}
	var got []bool
	for _, d := range []time.Duration{0, 0, 0, 500 * time.Millisecond, 0, time.Hour, 0, 0} {
		at = at.Add(d)
		got = append(got, b.take(at, 2, 2))
	}
	if want := []bool{true, true, false, true, false, true, true, false}; !slices.Equal(got, want) {
		t.Errorf("passes %v, want %v", got, want)
	}
}

// Two on the same local network find each other without an address; carol's network has another label.
func TestFoundByMDNS(t *testing.T) {
	if !multicast() {
		t.Skip("no network interface with multicast on this machine")
	}
	label := fmt.Sprintf("test-%x", time.Now().UnixNano())
	on := func(label string) func(*Config) {
		return func(c *Config) {
			c.Listen, c.MDNS, c.Label = []string{"/ip4/0.0.0.0/tcp/0"}, true, label
		}
	}
	alice, bob, carol := newHost(t, "alice", on(label)), newHost(t, "bob", on(label)), newHost(t, "carol", on(label[:8]))
	for _, h := range []*Host{alice, bob, carol} {
		serve(t, h.Serve)
	}
	eventually(t, 20*time.Second, "alice and bob find each other", func() bool {
		return slices.Contains(alice.Candidates(), bob.ID()) && slices.Contains(bob.Candidates(), alice.ID())
	})
	if got := carol.Peers(); len(got) != 0 {
		t.Errorf("carol, of another network, has peers %v", got)
	}
}

func multicast() bool {
	all, err := net.Interfaces()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(all, func(i net.Interface) bool {
		return i.Flags&net.FlagMulticast != 0 && i.Flags&net.FlagUp != 0 && i.Flags&net.FlagLoopback == 0
	})
}
