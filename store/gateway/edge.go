package gateway

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	remote "github.com/ipfs/boxo/pinning/remote/client"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multiaddr"
)

// Edge is a gateway of somebody that holds what it is asked to: a node with a pinning service, at one URL, or any other service of the
// IPFS Pinning Service API that serves blocks too.
type Edge struct {
	URL   string `json:"url"`   // without a path, such as https://cdn.example
	Token string `json:"token"` // that its owner gave
}

const (
	edgeTime  = 30 * time.Second       // for one answer
	edgeBlock = 2 << 20                // bytes, the most that bitswap knows
	firstLook = 100 * time.Millisecond // at what became of a request; each further one comes twice as late
	lastLook  = 2 * time.Second
)

// Check reports an edge that cannot be used: its token would travel in the clear, or is none.
func (e Edge) Check() error {
	u, err := url.Parse(e.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return fmt.Errorf("edge %q is not a URL such as https://cdn.example", e.URL)
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return fmt.Errorf("edge %s: the token would travel in the clear, use https", e.URL)
	case e.Token == "" || strings.ContainsFunc(e.Token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return fmt.Errorf("edge %s: the token is empty, or has characters that no token has", e.URL)
	}
	return nil
}

// At is where the edge serves a content.
func (e Edge) At(c cid.Cid) string { return strings.TrimSuffix(e.URL, "/") + "/ipfs/" + c.String() }

func (e Edge) client() *remote.Client {
	return remote.NewClient(strings.TrimSuffix(e.URL, "/"), e.Token)
}

// everything is all states of a request.
var everything = remote.PinOpts.FilterStatus(remote.StatusQueued, remote.StatusPinning, remote.StatusPinned, remote.StatusFailed)

// Hold has the edge hold a content and returns when it does. origins are addresses, with /p2p/ID, of nodes that have it; rate is its price there (PriceMeta), 0: it is free. What is held already, or
// on its way, is not asked for again; what failed before is, and what has another price, which stands until the new one does: in between it is not free.
func (e Edge) Hold(ctx context.Context, c cid.Cid, name string, rate uint64, origins []multiaddr.Multiaddr) error {
	service := e.client()
	known, err := service.LsSync(ctx, remote.PinOpts.FilterCIDs(c), everything)
	if err != nil {
		return fmt.Errorf("edge %s: %w", e.URL, err)
	}
	var now remote.PinStatusGetter
	var stale []string
	for _, k := range known {
		was, err := rateOf(k.GetPin().GetMeta())
		if err == nil && was == rate && k.GetStatus() != remote.StatusFailed {
			now = k
		} else {
			stale = append(stale, k.GetRequestId())
		}
	}
	if now == nil {
		how := []remote.AddOption{remote.PinOpts.WithName(name), remote.PinOpts.WithOrigins(origins[:min(len(origins), maxOrigins)]...)}
		if rate > 0 {
			how = append(how, remote.PinOpts.AddMeta(map[string]string{PriceMeta: strconv.FormatUint(rate, 10)}))
		}
		now, err = service.Add(ctx, c, how...)
	}
	for wait := firstLook; err == nil; wait = min(2*wait, lastLook) {
		switch now.GetStatus() {
		case remote.StatusPinned:
			return e.drop(ctx, service, stale)
		case remote.StatusFailed:
			return fmt.Errorf("edge %s: %s", e.URL, cmp.Or(now.GetInfo()["status_details"], "it gave up without saying why"))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("edge %s: still %s: %w", e.URL, now.GetStatus(), context.Cause(ctx))
		case <-time.After(wait):
		}
		now, err = service.GetStatusByID(ctx, now.GetRequestId())
	}
	return fmt.Errorf("edge %s: %w", e.URL, err)
}

// drop removes requests.
func (e Edge) drop(ctx context.Context, service *remote.Client, requests []string) error {
	for _, id := range requests {
		if err := service.DeleteByID(ctx, id); err != nil {
			return fmt.Errorf("edge %s: %w", e.URL, err)
		}
	}
	return nil
}

// LetGo has the edge let go of a content, whoever asked for it with this token, and tells how many requests there were.
func (e Edge) LetGo(ctx context.Context, c cid.Cid) (n int, err error) {
	service := e.client()
	known, err := service.LsSync(ctx, remote.PinOpts.FilterCIDs(c), everything)
	for _, k := range known {
		if err != nil {
			break
		}
		if err = service.DeleteByID(ctx, k.GetRequestId()); err == nil {
			n++
		}
	}
	if err != nil {
		return n, fmt.Errorf("edge %s: %w", e.URL, err)
	}
	return n, nil
}

// Serves asks the edge's gateway for the root block and checks its bytes; nil: whoever asks gets it there. With a price it checks that this is asked for and that nobody gets it without.
func (e Edge) Serves(ctx context.Context, c cid.Cid, rate uint64) error {
	ctx, cancel := context.WithTimeout(ctx, edgeTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.At(c)+"?format=raw", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("edge %s: %w", e.URL, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, edgeBlock+1))
	switch asked := resp.Header.Get(priceHeader); {
	case err != nil:
		return fmt.Errorf("edge %s: %w", e.URL, err)
	case rate > 0 && resp.StatusCode == http.StatusOK:
		return fmt.Errorf("edge %s holds it and gives it away: it takes no price", e.URL)
	case rate > 0 && resp.StatusCode == http.StatusPaymentRequired && asked == strconv.FormatUint(rate, 10):
		return nil
	case rate > 0 && resp.StatusCode == http.StatusPaymentRequired:
		return fmt.Errorf("edge %s asks another price for it: %s uhpips for a GiB", e.URL, asked)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("edge %s holds it and does not serve it: %s: %.200s", e.URL, resp.Status, bytes.TrimSpace(data))
	}
	sum, err := c.Prefix().Sum(data)
	if err == nil && !sum.Equals(c) {
		err = errors.New("it serves other bytes")
	}
	if err != nil {
		return fmt.Errorf("edge %s: %w", e.URL, err)
	}
	return nil
}
