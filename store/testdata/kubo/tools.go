//go:build tools

// Package kubo pins the Kubo that the interoperability tests build and run.
package kubo

import _ "github.com/ipfs/kubo/cmd/ipfs"
