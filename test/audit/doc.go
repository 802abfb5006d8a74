// Package audit tests that whoever runs a task again comes to what its provider said: the real provider and the real auditor, each with a sandbox and a store
// of its own, around one requester, over real sockets on loopback.
// It promises that an answer is alike however a program ends, and that the state at a point shows who ran it.
// It leaves the chain's part in audits to chain/audit, and the rules to spec/trust.
package audit
