package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ipfs/boxo/verifcid"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Bounds of the specification, and ours where it has none.
const (
	maxPinName = 255
	maxOrigins = 20
	maxMeta    = 100  // entries
	maxFilter  = 10   // CIDs asked for at once
	maxPage    = 1000 // requests in one answer
	page       = 10
)

// wrong is a mistake of a client.
type wrong string

func (w wrong) Error() string { return string(w) }

func wrongf(format string, args ...any) error { return wrong(fmt.Sprintf(format, args...)) }

// ServeHTTP serves /pins and /pins/REQUEST. Nobody comes in without the token; it is compared in constant time.
func (p *Pins) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if !p.allowed(r) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="hpips pins"`)
		failPin(w, http.StatusUnauthorized, "UNAUTHORIZED", "the token is missing or wrong: it stands in pins.token in the node's home")
		return
	}
	status, v, err := p.answer(r)
	var mistake wrong
	var big *http.MaxBytesError
	switch {
	case err == nil && v == nil:
		w.WriteHeader(status)
	case err == nil:
		writePin(w, status, v)
	case errors.As(err, &mistake):
		failPin(w, http.StatusBadRequest, "BAD_REQUEST", err.Error())
	case errors.As(err, &big):
		failPin(w, http.StatusRequestEntityTooLarge, "BAD_REQUEST", fmt.Sprintf("the request is larger than %d bytes", big.Limit))
	case errors.Is(err, errNoRequest):
		failPin(w, http.StatusNotFound, "NOT_FOUND", err.Error())
	case errors.Is(err, errFull):
		failPin(w, http.StatusConflict, "TOO_MANY_PINS", err.Error())
	case errors.Is(err, errMethod):
		failPin(w, http.StatusMethodNotAllowed, "BAD_REQUEST", err.Error())
	default:
		p.log.Warn("A request to the pinning service failed", "err", err)
		failPin(w, http.StatusInternalServerError, "INTERNAL_SERVER_ERROR", "see the node's log")
	}
}

var errMethod = errors.New("this method is not possible here")

func (p *Pins) allowed(r *http.Request) bool {
	kind, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	got, want := sha256.Sum256([]byte(strings.TrimSpace(token))), sha256.Sum256([]byte(p.cfg.Token))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1 && ok && strings.EqualFold(kind, "Bearer")
}

// answer is the table of the specification.
func (p *Pins) answer(r *http.Request) (status int, v any, err error) {
	ctx := r.Context()
	id, one := strings.CutPrefix(r.URL.Path, "/pins/")
	if !one {
		id = ""
	}
	switch {
	case !one && r.Method == http.MethodGet:
		q, err := readQuery(r.URL.Query())
		if err != nil {
			return 0, nil, err
		}
		count, found, err := p.list.find(ctx, q)
		for i := range found {
			found[i] = p.told(found[i])
		}
		return http.StatusOK, map[string]any{"count": count, "results": found}, err
	case r.Method == http.MethodPost:
		pin, err := readPin(r.Body)
		if err != nil {
			return 0, nil, err
		}
		if rate, _ := rateOf(pin.Meta); rate > 0 && p.cfg.Prices == nil { // readPin looked at it
			return 0, nil, wrong("content has no price here: this node follows no chain on which it could be paid")
		}
		s, err := p.add(ctx, pin, id)
		return http.StatusAccepted, p.told(s), err
	case one && r.Method == http.MethodGet:
		s, err := p.list.get(ctx, id)
		return http.StatusOK, p.told(s), err
	case one && r.Method == http.MethodDelete:
		return http.StatusAccepted, nil, p.remove(ctx, id)
	}
	return 0, nil, errMethod
}

// told adds where this node is.
func (p *Pins) told(s Status) Status {
	s.Delegates = append([]string{}, p.delegates()...)
	return s
}

// readPin reads a request strictly: no unknown field, nothing behind it, all within the bounds.
func readPin(r io.Reader) (p Pin, err error) {
	in := json.NewDecoder(r)
	in.DisallowUnknownFields()
	if err := in.Decode(&p); err != nil {
		var big *http.MaxBytesError
		if errors.As(err, &big) {
			return p, err
		}
		return p, wrongf("the body is no pin: %v", err)
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return p, wrong("something stands behind the pin")
	}
	if err := checkCID(p.CID); err != nil {
		return p, err
	}
	switch {
	case utf8.RuneCountInString(p.Name) > maxPinName || !utf8.ValidString(p.Name):
		return p, wrongf("the name is longer than %d characters", maxPinName)
	case len(p.Origins) > maxOrigins:
		return p, wrongf("more than %d origins", maxOrigins)
	case len(p.Meta) > maxMeta:
		return p, wrongf("more than %d entries in meta", maxMeta)
	}
	if _, err := rateOf(p.Meta); err != nil {
		return p, wrong(err.Error())
	}
	for _, o := range p.Origins {
		if _, err := peer.AddrInfoFromString(o); err != nil {
			return p, wrongf("origin %q is no address with /p2p/ID: %v", o, err)
		}
	}
	return p, nil
}

// checkCID takes the addresses of what the store can hold.
func checkCID(text string) error {
	c, err := cid.Decode(text)
	if err == nil {
		err = verifcid.ValidateCid(verifcid.DefaultAllowlist, c)
	}
	if err != nil {
		return wrongf("%q is no CID: %v", text, err)
	}
	if codec := c.Prefix().Codec; codec != cid.Raw && codec != cid.DagProtobuf {
		return wrongf("%s is of codec 0x%x: files and folders (raw, dag-pb) alone are held here", text, codec)
	}
	return nil
}

// readQuery reads what a client looks for, by the bounds of the specification.
func readQuery(v url.Values) (q query, err error) {
	q = query{match: "exact", limit: page, statuses: []string{Pinned}}
	for name, values := range v {
		if len(values) != 1 {
			return q, wrongf("%s is said %d times", name, len(values))
		}
		text := values[0]
		switch name {
		case "cid":
			q.cids = strings.Split(text, ",")
			if len(q.cids) > maxFilter {
				return q, wrongf("more than %d CIDs", maxFilter)
			}
			for _, c := range q.cids {
				if _, err := cid.Decode(c); err != nil {
					return q, wrongf("%q is no CID: %v", c, err)
				}
			}
		case "name":
			q.name = text
			if utf8.RuneCountInString(text) > maxPinName {
				return q, wrongf("the name is longer than %d characters", maxPinName)
			}
		case "match":
			if q.match = text; names[text] == "" {
				return q, wrongf("match %q is none of exact, iexact, partial, ipartial", text)
			}
		case "status":
			q.statuses = strings.Split(text, ",")
			for _, s := range q.statuses {
				if !slices.Contains([]string{Queued, Pinning, Pinned, Failed}, s) {
					return q, wrongf("status %q is none of queued, pinning, pinned, failed", s)
				}
			}
		case "before", "after":
			at, err := time.Parse(time.RFC3339Nano, text)
			if err != nil {
				return q, wrongf("%s %q is no time (RFC 3339)", name, text)
			}
			if name == "before" {
				q.before = at
			} else {
				q.after = at
			}
		case "limit":
			if q.limit, err = strconv.Atoi(text); err != nil || q.limit < 1 || q.limit > maxPage {
				return q, wrongf("limit %q is not in 1…%d", text, maxPage)
			}
		case "meta":
			if err := json.Unmarshal([]byte(text), &q.meta); err != nil || len(q.meta) > maxMeta {
				return q, wrongf("meta %q is no JSON object of texts", text)
			}
		default:
			return q, wrongf("%s is no filter", name)
		}
	}
	return q, nil
}

// failPin answers with the specification's shape of an error.
func failPin(w http.ResponseWriter, status int, reason, details string) {
	writePin(w, status, map[string]any{"error": map[string]string{"reason": reason, "details": details}})
}

func writePin(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // nobody is left to tell
}
