package job

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// MaxReaches is how many places one job may ask to reach.
const MaxReaches = 64

// Reach is one place outside that tasks ask for, or that a node's owner lets them reach: "example.org", "*.example.org", "*", an address, or a network such as
// "192.0.2.0/24", each with ":PORT" behind it where it is not 80 and 443 that are meant. An IPv6 address with a port stands in brackets.
type Reach struct {
	domain string       // lower case; "*" is every name
	below  bool         // all names below the domain, not it itself
	net    netip.Prefix // of an address or network
	port   uint16       // 0: 80 and 443
}

// domainName is labels between dots (RFC 1123, section 2.1), underscores included, as some use them.
var domainName = regexp.MustCompile(`^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$`)

// ParseReach reads one place.
func ParseReach(text string) (r Reach, err error) {
	if strings.Contains(text, "//") {
		return r, fmt.Errorf("%q is no domain, address or network: leave what stands before // and behind the host out", text)
	}
	host := text
	if i := strings.LastIndexByte(text, ':'); i >= 0 && (strings.Count(text, ":") == 1 || strings.HasPrefix(text, "[") && strings.Contains(text[:i], "]")) {
		port := text[i+1:]
		host = text[:i]
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
			return r, fmt.Errorf("%q: %q is no port", text, port)
		}
		r.port = uint16(n)
	}
	if inner, ok := strings.CutPrefix(host, "["); ok && strings.Contains(host, ":") {
		host, ok = strings.CutSuffix(inner, "]")
		if !ok {
			return Reach{}, fmt.Errorf("%q: a bracket is missing", text)
		}
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if a, err := netip.ParseAddr(host); err == nil && a.Zone() == "" {
		a = a.Unmap()
		r.net = netip.PrefixFrom(a, a.BitLen())
		return r, nil
	}
	if p, err := netip.ParsePrefix(host); err == nil {
		if r.net = p.Masked(); p.Addr().Is4In6() || p != r.net {
			return Reach{}, fmt.Errorf("%q: write the network as %s", text, r.net)
		}
		return r, nil
	}
	if host == "*" && !strings.Contains(text, ".") {
		r.domain = host
		return r, nil
	}
	if r.domain, r.below = strings.CutPrefix(host, "*."); len(r.domain) > 253 || !domainName.MatchString(r.domain) || strings.Trim(r.domain, "0123456789.") == "" {
		return Reach{}, fmt.Errorf("%q is no domain, address or network", text)
	}
	return r, nil
}

// ParseReaches reads a list of places, MaxReaches at most.
func ParseReaches(list []string) ([]Reach, error) {
	if len(list) > MaxReaches {
		return nil, fmt.Errorf("%d places, and %d are possible: name a domain as *.example.org, or a network", len(list), MaxReaches)
	}
	all := make([]Reach, 0, len(list))
	for _, text := range list {
		r, err := ParseReach(text)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// String writes the place as ParseReach reads it.
func (r Reach) String() string {
	s := r.domain
	switch {
	case r.below:
		s = "*." + s
	case r.net.IsValid() && r.net.IsSingleIP():
		s = r.net.Addr().String()
	case r.net.IsValid():
		s = r.net.String()
	}
	if r.port == 0 {
		return s
	}
	if strings.Contains(s, ":") {
		s = "[" + s + "]"
	}
	return s + ":" + strconv.Itoa(int(r.port))
}

// ports says whether a port is among those of the place.
func (r Reach) ports(port uint16) bool {
	return r.port == port || r.port == 0 && (port == 80 || port == 443)
}

// Named says whether the place is a name, and this host, in any case, is one that it means, at that port.
func (r Reach) Named(host string, port uint16) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return r.ports(port) && r.domain != "" && (r.domain == "*" || r.below && strings.HasSuffix(host, "."+r.domain) || !r.below && host == r.domain)
}

// Addressed says whether the place is an address or network, and that address lies in it, at that port.
func (r Reach) Addressed(a netip.Addr, port uint16) bool {
	return r.ports(port) && r.net.IsValid() && r.net.Contains(a.Unmap())
}

// Within says whether all that r means is among what a list allows. Names never allow addresses: what a name leads to is looked at when it is asked for.
func (r Reach) Within(allowed []Reach) bool {
	return slices.ContainsFunc(allowed, func(a Reach) bool {
		if a.port != r.port && (r.port == 0 || !a.ports(r.port)) {
			return false
		}
		switch {
		case r.net.IsValid():
			return a.net.IsValid() && a.net.Bits() <= r.net.Bits() && a.net.Contains(r.net.Addr())
		case a.domain == "*":
			return true
		case a.below:
			return strings.HasSuffix(r.domain, "."+a.domain) || r.below && r.domain == a.domain
		}
		return a.domain != "" && !r.below && r.domain == a.domain
	})
}
