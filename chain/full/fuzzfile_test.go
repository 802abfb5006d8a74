package full

import (
	"bytes"
	"errors"
	"testing"

	cmttypes "github.com/cometbft/cometbft/types"
	"github.com/cosmos/gogoproto/proto"
)

// Whatever a genesis file says beside the genesis, it is a trust point that can be written and read again, none, or an error.
func FuzzGenesisTrust(f *testing.F) {
	const hash = "BD1E2F3A4B5C6D7E8F9012233445566778899AABBCCDDEEFF00112233445566A"
	for _, text := range []string{`{"trust":"7:` + hash + `","chain_id":"x"}`, `{}`, `{"trust":null}`, `{"trust":7}`, `{"trust":"0:` + hash + `"}`, `{"trust":""}`, `[]`, `null`, ``,
		`{"trust":"7:` + hash + `","trust":"8:` + hash + `"}`, `{"TRUST":"7:` + hash + `"}`, `{"trust":"7:` + hash + `"} more`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		point, err := GenesisTrust(file)
		if err != nil && point != nil {
			t.Fatalf("%q: %v and %v", file, point, err)
		}
		if point == nil {
			return
		}
		again, err := ParseTrust(point.String())
		if err != nil || again.Height != point.Height || !bytes.Equal(again.Hash, point.Hash) || point.Height < 1 || len(point.Hash) != 32 {
			t.Fatalf("%q has %v, read again %v, %v", file, point, again, err)
		}
	})
}

// A block that is read from an archive has a hash and parts, and is the same block when it is written and read again.
func FuzzParseBlock(f *testing.F) {
	for _, block := range []*cmttypes.Block{
		cmttypes.MakeBlock(1, nil, &cmttypes.Commit{}, nil),
		cmttypes.MakeBlock(7, []cmttypes.Tx{[]byte("one"), []byte("two")}, &cmttypes.Commit{Height: 6, BlockID: cmttypes.BlockID{
			Hash: bytes.Repeat([]byte{1}, 32), PartSetHeader: cmttypes.PartSetHeader{Total: 1, Hash: bytes.Repeat([]byte{2}, 32)},
		}, Signatures: []cmttypes.CommitSig{cmttypes.NewCommitSigAbsent()}}, nil),
	} {
		block.ProposerAddress, block.ValidatorsHash, block.ChainID = make([]byte, 20), make([]byte, 32), testChain
		block.LastBlockID = block.LastCommit.BlockID
		block.LastCommitHash, block.DataHash, block.EvidenceHash = block.LastCommit.Hash(), block.Data.Hash(), block.Evidence.Hash()
		text := blockBytes(f, block)
		if _, err := parse(text); err != nil {
			f.Fatal(err)
		}
		f.Add(text)
		f.Add(text[:len(text)/2])
		block.ValidatorsHash = nil // without it a header has no hash
		nameless := blockBytes(f, block)
		if _, err := parse(nameless); !errors.Is(err, ErrForged) {
			f.Fatalf("a block without a committee: %v", err)
		}
		f.Add(nameless)
	}
	f.Add([]byte{})
	f.Add([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, text []byte) {
		block, err := parse(text)
		if err != nil {
			return
		}
		if _, err := block.MakePartSet(cmttypes.BlockPartSizeBytes); err != nil || len(block.Hash()) != 32 {
			t.Fatalf("%X: a block with the hash %X, %v", text, block.Hash(), err)
		}
		again, err := parse(blockBytes(t, block))
		if err != nil || !bytes.Equal(again.Hash(), block.Hash()) {
			t.Fatalf("%X: read again %v, %v", text, again, err)
		}
	})
}

func blockBytes(t testing.TB, block *cmttypes.Block) []byte {
	t.Helper()
	said, err := block.ToProto()
	if err != nil {
		t.Fatal(err)
	}
	text, err := proto.Marshal(said)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
