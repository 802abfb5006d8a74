package egress

import (
	"encoding/binary"
	"io"
	"net"

	"golang.org/x/net/dns/dnsmessage"
)

// answer speaks DNS over a stream (RFC 1035, section 4.2.2): it knows A records, and no other names.
func answer(c net.Conn, known map[string]string) {
	defer c.Close()
	for {
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		ask := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, ask); err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(ask) != nil || len(m.Questions) != 1 {
			return
		}
		q := m.Questions[0]
		m.Response, m.Additionals = true, nil
		address, ok := known[q.Name.String()]
		if !ok {
			m.RCode = dnsmessage.RCodeNameError
		}
		if ok && q.Type == dnsmessage.TypeA {
			m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1}, Body: &dnsmessage.AResource{A: [4]byte(net.ParseIP(address).To4())}}}
		}
		said, err := m.Pack()
		if err != nil {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(said))), said...)); err != nil {
			return
		}
	}
}
