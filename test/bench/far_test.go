//go:build linux

package bench

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	blockfmt "github.com/ipfs/go-block-format"
	car "github.com/ipld/go-car/v2"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/store/storetest"
)

// far is the line between two cities: a round trip of 50 ms and 800 Mbit/s.
var far = storetest.Line{Delay: 25 * time.Millisecond, Rate: 100_000_000}

// Grace and heidi live 50 ms apart, and so do two Kubo daemons: how fast a file comes from the one to the other, by bitswap; and how fast it comes as a CAR whose every block is checked, beside the same file by plain HTTPS.
func TestContentOverDelay(t *testing.T) {
	bin, ipfs := program(t), kuboProgram(t)
	size, pages := either(8, 128), either(16, 256)
	file, large := random(t, size), random(t, pages)
	var ours, theirs, cars, plain []float64
	for round := range either(1, 3) {
		a, b := oursFar(t, bin, file, size), kuboFar(t, ipfs, file, size)
		c, d := pagesFar(t, bin, large, pages)
		t.Logf("round %d: get %.1f, Kubo %.1f; CAR %.1f, HTTPS %.1f MiB/s; load %s", round+1, a, b, c, d, load(t))
		ours, theirs, cars, plain = append(ours, a), append(theirs, b), append(cars, c), append(plain, d)
	}
	figure(t, "far-get", median(ours), "MiB/s")
	figure(t, "far-get-kubo", median(theirs), "MiB/s")
	figure(t, "far-get-to-kubo", median(ours)/median(theirs), "times")
	figure(t, "far-car", median(cars), "MiB/s")
	figure(t, "far-https", median(plain), "MiB/s")
	figure(t, "far-car-to-https", median(cars)/median(plain), "times")
	atLeast(t, "far-get-to-kubo", median(ours)/median(theirs), 8, 0.5)
	atLeast(t, "far-car-to-https", median(cars)/median(plain), 0.85, 0.2)
}

// afar puts the line before a node's address, such as /ip4/…/tcp/…/p2p/…, and gives the one by which it is reached over it.
func afar(t *testing.T, address string) string {
	t.Helper()
	whole, err := multiaddr.NewMultiaddr(address)
	must(t, err)
	info, err := peer.AddrInfoFromP2pAddr(whole)
	must(t, err)
	return far.Before(t, info.Addrs[0]).String() + "/p2p/" + info.ID.String()
}

// oursFar is the rate at which heidi gets a file of so many MiB from grace, in MiB/s.
func oursFar(t *testing.T, bin, file string, size int) (get float64) {
	t.Helper()
	t.Run("ours", func(t *testing.T) {
		grace := up(t, bin, "--no-provider", "--no-chain")
		c := grace.hpips("put", "-q", file)
		heidi := up(t, bin, "--no-provider", "--no-chain", "--join", afar(t, grace.address()))
		heidi.await(func(st client.Status) bool { return st.Peers > 0 })
		settle(t)
		to := filepath.Join(t.TempDir(), "copy")
		began := time.Now()
		heidi.hpips("get", "-q", c, "-O", to)
		get = float64(size) / time.Since(began).Seconds()
		same(t, file, to)
	})
	return get
}

// kuboFar is oursFar of two Kubo daemons with the same chunks.
func kuboFar(t *testing.T, ipfs, file string, size int) (get float64) {
	t.Helper()
	t.Run("kubo", func(t *testing.T) {
		first, second := newKubo(t, ipfs), newKubo(t, ipfs)
		c := first.run("add", "-Q", "--cid-version=1", "--raw-leaves", "--chunker=size-1048576", "--max-file-links=1024", file)
		second.run("swarm", "connect", afar(t, strings.Fields(first.run("id", "-f", "<addrs>"))[0]))
		settle(t)
		to := filepath.Join(t.TempDir(), "copy")
		began := time.Now()
		second.run("get", "-o", to, c)
		get = float64(size) / time.Since(began).Seconds()
		same(t, file, to)
	})
	return get
}

// pagesFar gives the rates in MiB/s at which a file comes from grace's gateway as a CAR, and from a plain web server, both by HTTPS over the same line.
func pagesFar(t *testing.T, bin, file string, size int) (asCAR, plain float64) {
	t.Helper()
	t.Run("pages", func(t *testing.T) {
		home := t.TempDir()
		trusting := certified(t, home)
		must(t, os.WriteFile(filepath.Join(home, "config.toml"), []byte("version = 1\n[gateway]\naddress = \"127.0.0.1:0\"\nrate = 1e9\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n"), 0o600))
		grace := upAt(t, bin, home, "--listen", "/ip4/127.0.0.1/tcp/0", "--no-provider", "--no-chain")
		at := grace.await(func(st client.Status) bool { return st.Gateway != nil }).Gateway.Address
		c := grace.hpips("put", "-q", file)
		web := webServer(t, home, filepath.Dir(file))
		settle(t)
		took := func(at, path string, read func(io.Reader) (int, error)) float64 {
			client := &http.Client{Transport: trusting.Clone()}
			defer client.CloseIdleConnections()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+before(t, at)+path, nil)
			must(t, err)
			req.Host = at // a gateway on loopback answers to its own name alone
			began := time.Now()
			resp, err := client.Do(req)
			must(t, err)
			defer resp.Body.Close()
			n, err := read(resp.Body)
			if took := time.Since(began); err == nil && resp.StatusCode == http.StatusOK && n == size<<20 {
				return float64(size) / took.Seconds()
			}
			t.Fatalf("%s%s: %s, %d bytes, %v", at, path, resp.Status, n, err)
			return 0
		}
		asCAR = took(at, "/ipfs/"+c+"?format=car", leaves)
		plain = took(web, "/"+filepath.Base(file), func(r io.Reader) (int, error) {
			n, err := io.Copy(io.Discard, r)
			return int(n), err
		})
	})
	return asCAR, plain
}

// before puts the line before a host and port.
func before(t *testing.T, at string) string {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp", at)
	must(t, err)
	to, err := manet.FromNetAddr(a)
	must(t, err)
	near, err := manet.ToNetAddr(far.Before(t, to))
	must(t, err)
	return near.String()
}

// leaves reads a CAR, checks every block against its name, and gives the size of its raw blocks.
func leaves(r io.Reader) (size int, err error) {
	blocks, err := car.NewBlockReader(r)
	if err != nil {
		return 0, err
	}
	for {
		var b blockfmt.Block
		if b, err = blocks.Next(); errors.Is(err, io.EOF) {
			return size, nil
		}
		if err != nil {
			return size, err
		}
		if b.Cid().Prefix().Codec == 0x55 { // raw
			size += len(b.RawData())
		}
	}
}

// webServer serves a folder by HTTPS with the certificate of home.
func webServer(t *testing.T, home, dir string) (at string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s := &http.Server{Handler: http.FileServer(http.Dir(dir)), ReadHeaderTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- s.ServeTLS(l, filepath.Join(home, "cert.pem"), filepath.Join(home, "key.pem")) }()
	t.Cleanup(func() {
		must(t, s.Shutdown(context.WithoutCancel(t.Context())))
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// certified writes a certificate for this machine into a folder, and gives what trusts it.
func certified(t *testing.T, dir string) *http.Transport {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	about := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, about, about, private.Public(), private)
	must(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: secret}} {
		must(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600))
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}}
}
