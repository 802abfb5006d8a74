package committee

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cosmos/cosmos-sdk/codec"
	"github.com/cosmos/cosmos-sdk/codec/address"
	"github.com/cosmos/cosmos-sdk/codec/types"
	"github.com/cosmos/cosmos-sdk/runtime"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"

	"github.com/hpips/hpips/spec/sortition"
)

// duties remembers what the committee told of: it is the world's bank that takes an interest, too.
type duties struct {
	*bank
	seats, receipts map[sortition.Key]uint64
	left            []sortition.Key // seats, in the order in which they were given up
	refuse          error
}

func (d *duties) Duty(_ context.Context, node sortition.Key, seats, receipts uint64) error {
	d.seats[node] += seats
	d.receipts[node] += receipts
	return d.refuse
}

func (d *duties) Left(_ context.Context, node sortition.Key) error {
	d.left = append(d.left, node)
	return nil
}

// watched makes the committee tell of duty, and of seats that are left.
func (w *world) watched() *duties {
	d := &duties{bank: w.bank, seats: map[sortition.Key]uint64{}, receipts: map[sortition.Key]uint64{}}
	w.k.duty, w.k.left = d, d
	w.m = NewModule(w.k, "nothing")
	return d
}

// Four sit through an epoch; the PCs of carol and dave are off for thirty of its blocks. One of the two leaves; the other stays, since nobody
// stands by and three must sit, but has done no duty.
func TestSeatsThatAreThereDoTheirDuty(t *testing.T) {
	w, all := settled(t, 4, 0)
	d := w.watched()
	params := w.params()
	params.EpochBlocks, params.ClaimBlocks = 200, 100
	w.must(w.k.setParams(w.ctx(block{}), params))
	carol, dave := all[2], all[3]
	carol.stopped, dave.stopped = true, true
	for range 32 {
		w.heartbeat()
	}
	if w.sits(carol) == w.sits(dave) {
		t.Fatal("one of the two should sit")
	}
	gone := carol
	if w.sits(carol) {
		gone = dave
	}
	if seated, err := w.k.Seated(w.ctx(block{}), gone.id()); seated || err != nil || len(d.left) != 1 || d.left[0] != gone.id() {
		t.Errorf("told that %v left, want %s; it has a seat: %v, %v", d.left, gone.id(), seated, err)
	}
	w.close()
	for _, p := range all {
		want := uint64(1)
		if p.stopped {
			want = 0
		}
		if d.seats[p.id()] != want || d.receipts[p.id()] != 0 {
			t.Errorf("%s: %d seats, %d receipts, want %d and 0", p.name, d.seats[p.id()], d.receipts[p.id()], want)
		}
	}
}

// Each neighbour who testified for alice's ticket has done a unit for each of its receipts; for an application that is refused nobody has.
func TestReceiptsOfATicketAreDuty(t *testing.T) {
	all := append(people(10), newPerson("alice"))
	w := hours(t, hourly(), 10, all, 61)
	d := w.watched()
	alice := all[10]
	receipts := w.receipts(alice, w.slot(), nil)
	wants(t, "half of an application", w.block(w.application(alice, w.slot(), receipts[:2]))[0], ErrOffline)
	if len(d.receipts) != 0 {
		t.Errorf("duty for what was refused: %v", d.receipts)
	}
	want := map[sortition.Key]uint64{}
	for _, raw := range receipts {
		r, err := sortition.ParseReceipt(raw)
		w.must(err)
		want[r.Observer]++
	}
	wants(t, "application", w.block(w.application(alice, w.slot(), receipts))[0], nil)
	for id, n := range want {
		if d.receipts[id] != n || n == 0 {
			t.Errorf("%s: %d receipts, want %d", id, d.receipts[id], n)
		}
	}
	if len(d.receipts) != len(want) {
		t.Errorf("%d have duty, %d testified", len(d.receipts), len(want))
	}
	bob := newPerson("bob")
	w.people = append(w.people, bob)
	w.register(bob)
	w.pass(61)
	d.refuse = errors.New("the store is broken")
	if err := w.deliver(w.ctx(block{}), w.application(bob, w.slot(), w.receipts(bob, w.slot(), nil))); !errors.Is(err, d.refuse) {
		t.Error("an application went through though its duty could not be counted")
	}
}

func TestACreditThatIsADutyIsTold(t *testing.T) {
	w, _ := settled(t, 4, 0)
	if w.k.duty != nil || w.k.left != nil {
		t.Fatal("the world's bank is no Duty")
	}
	d := &duties{bank: w.bank}
	k := NewKeeper(codec.NewProtoCodec(types.NewInterfaceRegistry()), runtime.NewKVStoreService(w.key), address.NewBech32Codec("hpips"), w.registry, d, "gov")
	if k.duty != d || k.left != d {
		t.Error("it is not told")
	}
}

func TestADayEndsADayAfterTheLast(t *testing.T) {
	w := found(t, storetypes.StoreTypeIAVL, hourly(), 4, people(4)...)
	w.heartbeat()
	young := bare(t, storetypes.StoreTypeDB)
	if _, err := young.k.DayEnd(young.ctx(block{})); err == nil {
		t.Error("a chain that has not begun has a day")
	}
	for day := int64(1); day < 4; day++ {
		if end, err := w.k.DayEnd(w.ctx(block{})); err != nil || end != began.Unix()+day*int64(w.params().DaySeconds) {
			t.Errorf("day %d ends %d s after the beginning, %v", day-1, end-began.Unix(), err)
		}
		w.quiet(1, time.Second)
		w.blockAfter(time.Duration(w.params().DaySeconds-1) * time.Second)
	}
}
