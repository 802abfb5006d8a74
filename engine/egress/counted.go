package egress

import "net"

// counted is a connection to outside that counts what it moves and keeps to the rate.
type counted struct {
	net.Conn
	p *Proxy
}

// Read waits until the rate allows what has come.
func (c *counted) Read(b []byte) (int, error) {
	if len(b) > piece {
		b = b[:piece]
	}
	n, err := c.Conn.Read(b)
	c.p.received.Add(int64(n))
	return n, c.p.paced(n, err)
}

// Write goes piece by piece, as the rate allows.
func (c *counted) Write(b []byte) (sent int, err error) {
	for len(b) > 0 && err == nil {
		part := b[:min(len(b), piece)]
		if err = c.p.paced(len(part), nil); err != nil {
			break
		}
		var n int
		n, err = c.Conn.Write(part)
		c.p.sent.Add(int64(n))
		sent, b = sent+n, b[n:]
	}
	return sent, err
}

// CloseWrite tells the other side that no more comes.
func (c *counted) CloseWrite() error {
	if h, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return nil
}

// paced waits for n bytes' turn; its error is that which was there, or that of the proxy's end.
func (p *Proxy) paced(n int, err error) error {
	if p.cfg.Rate == nil || n == 0 || err != nil {
		return err
	}
	return p.cfg.Rate.WaitN(p.ctx, min(n, p.cfg.Rate.Burst()))
}
