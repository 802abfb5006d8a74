// Package examples tests the built programs of its folders as a sandbox would run them.
// It promises that what README.md says of each one holds for its WebAssembly, in whatever language it is written.
// Running them on a network is left to test/e2e.
package examples
