// Package trade tests work for pay: the real requester, provider, market and pay rooms over real sockets on loopback, around a chain in one process.
// It promises that both sides of a paid lease reckon alike: what is done is what is promised, and what is promised is what is redeemed.
// It leaves the chain's own rules to chain/escrow and test/money, and whole nodes to test/swarm.
package trade
