package gateway

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/hpips/hpips/spec/lease"
)

const (
	maxAccounts = 1024
	idleAccount = time.Minute // after which it makes room for another, where there is none

	maxWaiting = 64 // for their deposits, of all clients
	maxEach    = 16 // of one client
)

// queue is who waits for a deposit to be seen.
type queue struct {
	mu      sync.Mutex
	all     int
	waiting map[netip.Addr]int
}

// enter takes a place; false: there is none.
func (q *queue) enter(client netip.Addr) (leave func(), ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.all >= maxWaiting || q.waiting[client] >= maxEach {
		return nil, false
	}
	q.all++
	q.waiting[client]++
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.all--
		if q.waiting[client]--; q.waiting[client] == 0 {
			delete(q.waiting, client)
		}
	}, true
}

// account is one lease.
type account struct {
	lease lease.Lease // as it was first opened
	id    string

	token string    // of accounts.mu
	used  time.Time // of accounts.mu
	over  bool      // of accounts.mu

	mu       sync.Mutex
	deposit  uint64
	reserved uint64 // bytes of answers that have not begun
}

// accounts are the leases that pay here. One that was ended stays until its term is over: it is not opened again.
type accounts struct {
	mu     sync.Mutex
	leases map[string]*account // by lease ID
	tokens map[string]*account
}

// open gives a lease a token, in the place of one that it had: what it reserved stays reserved.
func (s *accounts) open(l lease.Lease, deposit uint64) (string, error) {
	raw := make([]byte, 16)
	_, _ = rand.Read(raw) // never fails since Go 1.24
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	a := s.leases[l.ID()]
	switch {
	case a != nil && a.over:
		return "", unpaid("the lease is over: open another one")
	case a == nil && !s.room():
		return "", &saleError{status: http.StatusServiceUnavailable, sentence: "this gateway sells to as many as it can: try again in a moment", soon: true}
	case a == nil:
		a = &account{lease: l, id: l.ID()}
		s.leases[a.id] = a
	}
	delete(s.tokens, a.token)
	a.token, a.used = hex.EncodeToString(raw), time.Now()
	s.tokens[a.token] = a
	a.mu.Lock()
	defer a.mu.Unlock()
	a.deposit = deposit
	return a.token, nil
}

// sweep forgets leases whose term is over. Needs s.mu.
func (s *accounts) sweep() {
	now := time.Now().UnixMilli()
	for _, a := range s.leases {
		if a.lease.Terms.Until <= now {
			s.forget(a)
		}
	}
}

// room forgets, where there are too many, the lease that was used longest ago, if that is long ago: it may be opened again. Needs s.mu.
func (s *accounts) room() bool {
	if len(s.leases) < maxAccounts {
		return true
	}
	var oldest *account
	for _, a := range s.leases {
		if oldest == nil || a.used.Before(oldest.used) {
			oldest = a
		}
	}
	if time.Since(oldest.used) < idleAccount {
		return false
	}
	s.forget(oldest)
	return true
}

// forget needs s.mu.
func (s *accounts) forget(a *account) {
	delete(s.leases, a.id)
	delete(s.tokens, a.token)
}

// of finds the account that a token names.
func (s *accounts) of(token string) (*account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.tokens[token]
	if a == nil {
		return nil, unpaid("no lease is open here under this token: begin it again")
	}
	a.used = time.Now()
	return a, nil
}

// end has nobody open an account again.
func (s *accounts) end(a *account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.over = true
	delete(s.tokens, a.token)
}
