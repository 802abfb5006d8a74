package full

import "errors"

// What a caller acts on.
var (
	// ErrSignAgain ends Serve when a seat that stood down may sign again while the chain waits for it: start anew at once.
	ErrSignAgain = errors.New("the seat may sign again")
	// ErrForged ends Serve when the history contradicts the trust point.
	ErrForged = errors.New("this history is not the one you trust")
	// ErrNoTrust is why an old chain is not joined blindly.
	ErrNoTrust = errors.New("no trust point")
)
