// Package thief tests what whoever steals a node's spending key can take: a whole application of the chain in one process, without an engine, and the
// rights as a genesis and as a wallet give them. It promises that no day takes more than the owner allowed.
// It leaves the counting of single rights to chain/escrow, and nodes that spend honestly to test/swarm.
package thief
