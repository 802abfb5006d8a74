package market

import (
	"container/list"
	"crypto/sha256"
	"errors"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/lease"
)

// book remembers the quotes that were made: a bounded number, and a bounded part of it for each peer. The oldest make room.
type book struct {
	mu           sync.Mutex
	all, perPeer int
	quotes       map[[32]byte]*list.Element
	order        *list.List // of *entry, oldest first
	peers        map[peer.ID]int
}

type entry struct {
	key   [32]byte
	peer  peer.ID
	until int64
	lease string // made of it, "" before
}

func newBook(all, perPeer int) book {
	return book{all: max(1, all), perPeer: max(1, perPeer), quotes: map[[32]byte]*list.Element{}, order: list.New(), peers: map[peer.ID]int{}}
}

// add remembers a quote until its end. All quotes hold equally long, so the oldest end first.
func (k *book) add(p peer.ID, key [32]byte, now time.Time, until int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for e := k.order.Front(); e != nil && e.Value.(*entry).until <= now.UnixMilli(); e = k.order.Front() {
		k.drop(e)
	}
	if _, ok := k.quotes[key]; ok {
		return
	}
	if k.peers[p] >= k.perPeer {
		k.drop(k.oldestOf(p))
	} else if len(k.quotes) >= k.all {
		k.drop(k.order.Front())
	}
	k.quotes[key] = k.order.PushBack(&entry{key: key, peer: p, until: until})
	k.peers[p]++
}

func (k *book) oldestOf(p peer.ID) *list.Element {
	e := k.order.Front()
	for e.Value.(*entry).peer != p {
		e = e.Next()
	}
	return e
}

func (k *book) drop(e *list.Element) {
	q := k.order.Remove(e).(*entry)
	delete(k.quotes, q.key)
	if k.peers[q.peer]--; k.peers[q.peer] == 0 {
		delete(k.peers, q.peer)
	}
}

// take makes the lease id of a quote; the same lease may be made again.
func (k *book) take(p peer.ID, key [32]byte, id string, now time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	e, ok := k.quotes[key]
	if !ok || e.Value.(*entry).peer != p {
		return errors.New("lease: its quote is not one of this node, or long past; ask for a new one")
	}
	q := e.Value.(*entry)
	switch {
	case q.until <= now.UnixMilli():
		return errors.New("lease: its quote has expired; ask for a new one")
	case q.lease != "" && q.lease != id:
		return errors.New("lease: another lease was made of this quote; ask for a new one")
	}
	q.lease = id
	return nil
}

// quoteKey names a quote together with the order that it answers.
func quoteKey(o lease.Order, q lease.Quote) [32]byte {
	return sha256.Sum256(canon.MustEncode(struct {
		Order lease.Order `cbor:"o"`
		Quote lease.Quote `cbor:"q"`
	}{o, q}))
}
