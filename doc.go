// Package hpips is the map of the house. It holds no code of its own: only this page, in the order in which to read the
// rooms, and the tests that keep the house in order. What HPIPS does is left to the rooms.
//
//	spec/*      words and rules that all machines must agree on: bytes, signatures, limits
//	p2p         the libp2p host, calls, resumable sessions, who knows whom
//	store       content-addressed files and folders, kept here and fetched from others
//	machine     what this PC has and what its owner lets others use
//	plan        a job becomes tasks
//	market      orders, quotes, signed leases
//	engine/*    running a task inside walls
//	verify      results become a verdict
//	requester   the life of a job, journalled
//	provider    the life of a lease, on the machine that computes
//	auditor     a statement is run again, to ask whether its provider was right
//	seat        keeping the node's place in the committee: receipts, ticket, claims
//	api         HTTP for the command line and the page; api/client asks it
//	proto/*     the chain's messages, and the code generated from them
//	chain       the blockchain: its application; one package for each module; chain/full runs it
//	ledger      the house's window on the chain: queries, signed transactions, verification
//	node        knows everyone: configuration, building, running
//	cli         one file per command noun
//	cmd/hpips   main
//
//	examples    programs to copy         test/*   whole networks, end to end, figures
//	etc         scripts of make          docs     pages
//
// A room imports only rooms above it in this list, and never its neighbour in the same layer; layers_test.go says so
// exactly.
package hpips
