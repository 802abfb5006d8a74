package p2p

// Event is a change of a session's link, in its place among the messages.
type Event uint8

const (
	EventNone      Event = iota // a message
	EventUp                     // the peer is there
	EventDown                   // the link is lost; the session redials by itself
	EventRestarted              // the peer's process is a new one that remembers nothing of the session
)

func (e Event) String() string {
	return [...]string{"message", "up", "down", "restarted"}[e&3]
}

// Message is what Receive yields: data with a sequence number, or an event.
type Message struct {
	Seq   uint64 // grows by one with each message over the whole life of the Session, restarts of the peer included
	Data  []byte // the receiver's own
	Event Event  // if not EventNone, Seq and Data are zero
}

// inbox holds what arrived and was not yet taken, in order.
//
// Numbers: on the wire each incarnation of the peer counts from 1; base is how many messages came from earlier ones.
type inbox struct {
	q        []Message
	head     int
	unread   int // data messages in q
	bytes    int // of them, with their cost
	received uint64
	acked    uint64
	base     uint64
}

// maxEvents is how many events may follow each other unread before they are merged.
const maxEvents = 8

func (in *inbox) add(data []byte) {
	in.received++
	in.unread++
	in.bytes += len(data) + entryCost
	in.q = append(in.q, Message{Seq: in.base + in.received, Data: data})
}

// event queues a change. Where a reader is slow and the link flaps, the row of unread events at the end is cut to what
// it comes to: a restart if there was one, and the last state.
func (in *inbox) event(e Event) {
	in.q = append(in.q, Message{Event: e})
	i, restarted := len(in.q), false
	for i > in.head && in.q[i-1].Event != EventNone {
		i--
		restarted = restarted || in.q[i].Event == EventRestarted
	}
	if len(in.q)-i <= maxEvents {
		return
	}
	in.q = in.q[:i]
	if restarted {
		in.q = append(in.q, Message{Event: EventRestarted})
	}
	if e != EventRestarted {
		in.q = append(in.q, Message{Event: e})
	}
}

// restart begins the count anew for a peer that begins anew.
func (in *inbox) restart() {
	in.base += in.received
	in.received, in.acked = 0, 0
	in.event(EventRestarted)
}

// take yields the next message or event.
func (in *inbox) take() (Message, bool) {
	if in.head == len(in.q) {
		return Message{}, false
	}
	m := in.q[in.head]
	in.q[in.head] = Message{}
	in.head++
	if in.head == len(in.q) {
		in.q, in.head = in.q[:0], 0
	} else if in.head > 1024 && in.head*2 > len(in.q) {
		n := copy(in.q, in.q[in.head:])
		clear(in.q[n:])
		in.q, in.head = in.q[:n], 0
	}
	if m.Event == EventNone {
		in.unread--
		in.bytes -= len(m.Data) + entryCost
	}
	return m, true
}

// ack notes that everything up to seq is processed for good; false means that this is no news. Numbers from before a
// restart of the peer are no news: it has forgotten those messages itself.
func (in *inbox) ack(seq uint64) bool {
	if seq <= in.base {
		return false
	}
	n := min(seq-in.base, in.received)
	if n <= in.acked {
		return false
	}
	in.acked = n
	return true
}
