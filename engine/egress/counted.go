package egress

import "net"

// counted is a connection to outside that counts what it moves.
type counted struct {
	net.Conn          // at the machine's pace
	raw      net.Conn // itself
	p        *Proxy
}

func (p *Proxy) counting(c net.Conn) *counted {
	paced := c
	if p.cfg.Pace != nil {
		paced = p.cfg.Pace(c)
	}
	return &counted{Conn: paced, raw: c, p: p}
}

// Read counts what has come.
func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.p.received.Add(int64(n))
	return n, err
}

// Write counts what has gone.
func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.p.sent.Add(int64(n))
	return n, err
}

// CloseWrite tells the other side that no more comes.
func (c *counted) CloseWrite() error {
	if h, ok := c.raw.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return nil
}
