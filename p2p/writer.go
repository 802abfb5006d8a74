package p2p

import (
	"bufio"
	"context"
	"time"
)

// outgoing is what has to be written next.
type outgoing struct {
	greeting []byte
	ack      uint64 // 0: none
	msgs     [][]byte
	first    uint64 // number of msgs[0]
	bye      bool
	ackLater bool // an ack waits, but not for long
	over     bool // another stream is in use, or the session ended
}

func (o *outgoing) nothing() bool {
	return o.greeting == nil && len(o.msgs) == 0 && o.ack == 0 && !o.bye
}

// collect takes the next things to write; an ack goes along with messages, or alone when ackNow.
func (s *Session) collect(l *link, buf [][]byte, ackNow bool) outgoing {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link != l {
		return outgoing{over: true}
	}
	o := outgoing{greeting: l.greeting}
	l.greeting = nil
	o.msgs, o.first = s.out.batch(buf[:0], 256<<10)
	if s.in.acked > l.ackSent {
		if ackNow || len(o.msgs) > 0 {
			o.ack, l.ackSent = s.in.acked, s.in.acked
			s.ackArmed = false
		} else {
			o.ackLater, s.ackArmed = true, true
		}
	}
	if s.closed && len(o.msgs) == 0 {
		o.bye, o.over = s.bye, !s.bye
	}
	return o
}

// put writes to the buffer, which flushes itself when it is full.
func (o *outgoing) put(w *bufio.Writer) error {
	if _, err := w.Write(o.greeting); err != nil {
		return err
	}
	if o.ack > 0 {
		if err := writeAck(w, o.ack); err != nil {
			return err
		}
	}
	for i, m := range o.msgs {
		if err := writeData(w, o.first+uint64(i), m); err != nil {
			return err
		}
	}
	if o.bye {
		_, err := w.Write(appendText(w.AvailableBuffer(), frameBye, "closed"))
		return err
	}
	return nil
}

// write sends messages, acks and pings until the stream ends. It is the only writer of the stream. Everything there is
// to write goes into one buffer, which leaves when there is nothing more.
func (s *Session) write(ctx context.Context, l *link) error {
	w := s.all.writers.Get().(*bufio.Writer)
	w.Reset(l.w)
	defer func() { w.Reset(nil); s.all.writers.Put(w) }()
	p := pauses{ack: time.NewTimer(time.Hour), idle: time.NewTimer(s.all.cfg.Ping)}
	defer p.stop()
	var buf [][]byte
	ackNow := false
	for {
		o := s.collect(l, buf, ackNow)
		ackNow = false
		switch {
		case o.over:
			return errReplaced
		case !o.nothing():
			if err := o.put(w); err != nil {
				return err
			}
			clear(o.msgs)
			buf = o.msgs
			if o.bye {
				err := w.Flush()
				l.finish()
				return err
			}
		case w.Buffered() > 0:
			if err := w.Flush(); err != nil {
				return err
			}
			p.idle.Reset(s.all.cfg.Ping)
		default:
			var err error
			if ackNow, err = s.wait(ctx, l, w, &p, o.ackLater); err != nil {
				return err
			}
		}
	}
}

// pauses are the writer's two clocks.
type pauses struct {
	ack, idle *time.Timer
	armed     bool // ack runs
}

func (p *pauses) stop() { p.ack.Stop(); p.idle.Stop() }

// wait is the writer's rest, until there is something to write: a message, an ack that has waited long enough (ackNow),
// or a ping, which it puts into w.
func (s *Session) wait(ctx context.Context, l *link, w *bufio.Writer, p *pauses, ackLater bool) (ackNow bool, err error) {
	if ackLater && !p.armed {
		p.ack.Reset(s.all.cfg.AckDelay)
		p.armed = true
	}
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case <-l.gone:
		return false, errReplaced
	case <-s.wake:
	case <-p.ack.C:
		p.armed = false
		return true, nil
	case <-p.idle.C:
		_, err = w.Write(appendHead(w.AvailableBuffer(), framePing, 0))
	}
	return false, err
}
