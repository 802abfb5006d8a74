package p2p

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"
)

// The bytes that README.md promises to other implementations.
func TestVectors(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	ack := new(bytes.Buffer)
	w := bufio.NewWriter(ack)
	if err := errors.Join(writeAck(w, 1), w.Flush()); err != nil {
		t.Fatal(err)
	}
	opener := hello{Version: 1, Name: "work", Opener: true, Self: 5, Dial: 1}
	acceptor := hello{Version: 1, Name: "work", Self: 9, Known: 5, Received: 3, Acked: 2, Last: linkID{Opener: true, N: 1}}
	for name, b := range map[string][]byte{
		"hello of an opener":    frames(opener),
		"hello of its acceptor": frames(acceptor),
		"message 1":             dataFrame(1, "hi"),
		"ack of message 1":      ack.Bytes(),
		"ping":                  appendHead(nil, framePing, 0),
	} {
		_, row, ok := strings.Cut(string(page), "\n| "+name)
		_, row, ok2 := strings.Cut(row, " | `")
		want, _, ok3 := strings.Cut(row, "`")
		want = strings.ReplaceAll(want, " ", "")
		if !ok || !ok2 || !ok3 || want != hex.EncodeToString(b) {
			t.Errorf("%s: %x, but README.md says %s", name, b, want)
		}
	}
}
