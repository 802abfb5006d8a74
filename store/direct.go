package store

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	blockfmt "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/hpips/hpips/spec/canon"
)

// directProtocol asks one peer for blocks that it is known to have or to get, without the search that bitswap begins with. One stream is one question:
//
//	question: uvarint length, then canonical CBOR {"want": [CID bytes, …], "wait": seconds}
//	answer:   for each CID in order, uvarint 0 if it is not here, else uvarint length+1 and the block
//
// With wait, the answer about a block that is not here is put off until it is, for so many seconds in all.
const directProtocol protocol.ID = "/hpips/blocks/1"

const (
	maxQuestion = 16 << 10
	maxWants    = 128
	maxWait     = 60               // seconds that an answer is put off at most
	directQuiet = 20 * time.Second // without a byte, after which a stream is given up
)

type question struct {
	Want [][]byte `cbor:"want"`
	Wait uint64   `cbor:"wait,omitempty"`
}

// answerDirect serves the question of one stream from the blocks that are here.
func (s *Store) answerDirect(stream network.Stream) {
	defer stream.Close()
	if !s.gives(stream.Conn().RemotePeer()) {
		_ = stream.Reset()
		return
	}
	if err := s.answerAll(stream, stream.Conn().RemotePeer()); err != nil {
		s.log.Debug("Question for blocks ends early", "peer", stream.Conn().RemotePeer(), "err", err)
		_ = stream.Reset()
	}
}

func (s *Store) answerAll(stream network.Stream, to peer.ID) error {
	_ = stream.SetDeadline(time.Now().Add(directQuiet))
	in := bufio.NewReader(stream)
	n, err := binary.ReadUvarint(in)
	if err != nil || n > maxQuestion {
		return fmt.Errorf("question of %d bytes: %w", n, errors.Join(err, ErrTooLarge))
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(in, b); err != nil {
		return err
	}
	var q question
	if err := canon.Decode(b, maxQuestion, &q); err != nil {
		return err
	}
	if len(q.Want) > maxWants || q.Wait > maxWait {
		return fmt.Errorf("question for %d blocks within %d s: %w", len(q.Want), q.Wait, ErrTooLarge)
	}
	out := bufio.NewWriterSize(stream, 64<<10)
	late := time.NewTimer(time.Duration(q.Wait) * time.Second)
	defer late.Stop()
	until := time.Now().Add(time.Duration(q.Wait) * time.Second)
	for _, w := range q.Want {
		_ = stream.SetDeadline(until.Add(directQuiet))
		if err := s.answerOne(out, to, w, late); err != nil {
			return err
		}
		_ = stream.SetDeadline(time.Now().Add(directQuiet))
	}
	return out.Flush()
}

// answerOne answers about one block. If it is not here it may still come, until late has gone off.
func (s *Store) answerOne(out *bufio.Writer, to peer.ID, w []byte, late *time.Timer) error {
	c, err := cid.Cast(w)
	if err != nil {
		return err
	}
	if s.withheld(to, c) {
		_, err := out.Write([]byte{0})
		return err
	}
	block, err := s.blocks.Get(context.Background(), c)
	if ipld.IsNotFound(err) {
		if err := out.Flush(); err != nil {
			return err
		}
		block, err = s.arriving(c, late)
	}
	if err != nil && !ipld.IsNotFound(err) {
		return err
	}
	var head [binary.MaxVarintLen64]byte
	if err != nil {
		_, err = out.Write(binary.AppendUvarint(head[:0], 0))
		return err
	}
	if _, err := out.Write(binary.AppendUvarint(head[:0], uint64(len(block.RawData()))+1)); err != nil {
		return err
	}
	_, err = out.Write(block.RawData())
	return err
}

// arriving waits for a block until late has gone off.
func (s *Store) arriving(c cid.Cid, late *time.Timer) (blockfmt.Block, error) {
	here, done := s.blocks.arrivals.wait(c.Hash())
	defer done()
	block, err := s.blocks.Get(context.Background(), c) // it may have come before that
	if !ipld.IsNotFound(err) {
		return block, err
	}
	select {
	case <-here:
		return s.blocks.Get(context.Background(), c)
	case <-late.C:
		late.Reset(0) // for those after it
		return nil, err
	}
}

// Ask asks one peer for blocks, 128 at most, and gives each that comes to take, its hash checked; nothing is kept on this disk. A peer that does not have one passes it over. An error means that those
// after the last one did not come, or is that of take.
func (s *Store) Ask(ctx context.Context, from peer.ID, wants []cid.Cid, take func(blockfmt.Block) error) error {
	if s.host == nil {
		return fmt.Errorf("ask %s for blocks: the store is offline", from)
	}
	if len(wants) > maxWants {
		return fmt.Errorf("ask %s for %d blocks, at most %d: %w", from, len(wants), maxWants, ErrTooLarge)
	}
	s.connect(ctx, []peer.ID{from})
	return s.askDirect(ctx, from, wants, 0, take)
}

// askDirect asks one peer for blocks, which it may have within wait, and gives each that comes, its hash checked, to take. An error means that the rest did not come;
// what take got stays good.
func (s *Store) askDirect(ctx context.Context, from peer.ID, wants []cid.Cid, wait time.Duration, take func(blockfmt.Block) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := s.host.NewStream(network.WithAllowLimitedConn(ctx, "blocks"), from, directProtocol)
	if err != nil {
		return fmt.Errorf("ask %s for blocks: %w", from, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = stream.Reset() })
	defer stop()
	defer stream.Close()
	q := question{Wait: uint64(wait / time.Second)}
	for _, c := range wants {
		q.Want = append(q.Want, c.Bytes())
	}
	body, err := canon.Encode(q)
	if err != nil {
		return err
	}
	_ = stream.SetDeadline(time.Now().Add(wait + directQuiet))
	if _, err := stream.Write(append(binary.AppendUvarint(nil, uint64(len(body))), body...)); err != nil {
		return fmt.Errorf("ask %s for blocks: %w", from, err)
	}
	in := bufio.NewReaderSize(stream, 64<<10)
	for _, c := range wants {
		block, err := readDirect(in, c)
		if err == nil && block != nil {
			err = take(block)
		}
		if err != nil {
			_ = stream.Reset()
			return fmt.Errorf("ask %s for blocks: %w", from, err)
		}
		_ = stream.SetDeadline(time.Now().Add(wait + directQuiet))
	}
	return nil
}

// readDirect reads the answer for one CID: nil where the peer does not have it.
func readDirect(in *bufio.Reader, c cid.Cid) (blockfmt.Block, error) {
	n, err := binary.ReadUvarint(in)
	if err != nil || n == 0 {
		return nil, err
	}
	if n-1 > maxBlockSize {
		return nil, fmt.Errorf("block %s of %d bytes: %w", c, n-1, ErrTooLarge)
	}
	data := make([]byte, n-1)
	if _, err := io.ReadFull(in, data); err != nil {
		return nil, err
	}
	if !matches(c.Hash(), data) {
		return nil, fmt.Errorf("block %s: the peer sent other bytes", c)
	}
	return blockfmt.NewBlockWithCid(data, c)
}
