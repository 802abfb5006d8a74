// Command hpips is the daemon and the command line of the HPIPS network.
// It holds no logic of its own.
// Everything is in package cli.
package main

func main() {}
