// Package proto keeps the messages of the chain: what transactions, questions and states are made of, as bytes. Their
// sources are hpips/NAME/v1/*.proto, one folder for each module of the chain; gen/NAMEv1 is the Go code made from them by
// go generate, committed so that a build needs no generator. It promises that gen is what the sources say, which its test
// checks. What the messages mean is left to the chain's modules; the words between machines, and in journals, are none
// of these: they are spec's, with bytes of their own.
package proto

//go:generate go -C ../etc/tools run ./protogen
