package p2p

import "fmt"

// entryCost is what one message counts beyond its bytes, so that a window of empty messages ends too.
const entryCost = 64

// outlog holds the messages that the peer has not processed for good, numbered from base without gaps.
type outlog struct {
	msgs  [][]byte // msgs[head:] are held
	head  int
	base  uint64 // number of msgs[head]
	next  uint64 // number of the next message to write on the stream in use
	sent  uint64 // highest number ever written in this numbering
	bytes int    // of held messages, with their cost
}

func newOutlog() outlog { return outlog{base: 1, next: 1} }

func (o *outlog) len() int { return len(o.msgs) - o.head }

func (o *outlog) add(msg []byte) {
	o.msgs = append(o.msgs, msg)
	o.bytes += len(msg) + entryCost
}

// batch appends to buf messages to be written now, up to about the given bytes, and returns the number of the first.
func (o *outlog) batch(buf [][]byte, bytes int) ([][]byte, uint64) {
	first := o.next
	for i := o.head + int(o.next-o.base); i < len(o.msgs) && bytes > 0; i++ {
		buf = append(buf, o.msgs[i])
		bytes -= len(o.msgs[i]) + entryCost
		o.next++
	}
	o.sent = max(o.sent, o.next-1)
	return buf, first
}

// ack forgets everything up to seq.
func (o *outlog) ack(seq uint64) error {
	if seq > o.sent {
		return fmt.Errorf("ack of message %d, but only %d were sent", seq, o.sent)
	}
	for o.base <= seq {
		o.bytes -= len(o.msgs[o.head]) + entryCost
		o.msgs[o.head] = nil
		o.head++
		o.base++
	}
	o.next = max(o.next, o.base)
	if o.head > 1024 && o.head*2 > len(o.msgs) {
		n := copy(o.msgs, o.msgs[o.head:])
		clear(o.msgs[n:])
		o.msgs, o.head = o.msgs[:n], 0
	}
	return nil
}

// resume continues after the last message that the peer has received.
func (o *outlog) resume(received, acked uint64) error {
	if received > o.sent || received+1 < o.base {
		return fmt.Errorf("peer received up to %d, but %d to %d are here", received, o.base, o.sent)
	}
	if err := o.ack(acked); err != nil {
		return err
	}
	o.next = received + 1
	return nil
}

// renumber begins anew, with the held messages as the first ones, for a peer that remembers nothing.
func (o *outlog) renumber() {
	o.base, o.next, o.sent = 1, 1, 0
}
