package chain_test

import (
	"testing"
	"time"

	govv1 "github.com/cosmos/cosmos-sdk/x/gov/types/v1"

	"github.com/hpips/hpips/chain"
	bondv1 "github.com/hpips/hpips/proto/gen/bondv1"
	committeev1 "github.com/hpips/hpips/proto/gen/committeev1"
	escrowv1 "github.com/hpips/hpips/proto/gen/escrowv1"
	registryv1 "github.com/hpips/hpips/proto/gen/registryv1"
	rewardv1 "github.com/hpips/hpips/proto/gen/rewardv1"
)

// promised is what people are told of a kind of network before they join it. Times are in seconds, money in uhpips.
type promised struct {
	committee committeev1.Params
	carried   uint32 // newcomers a day whom a node carries in
	levy      uint64 // of a node's work in levyDays, for a ticket
	levyDays  uint32
	bond      uint64 // of a node, for a ticket
	held      uint32 // thousandths of pay, until a bond is whole
	whole     uint64 // a bond, at least
	returns   uint64
	grace     uint64 // of a lease that is closed
	bonusDay  uint64
	voting    time.Duration
}

// What each kind of network begins with are numbers that people agreed on. Whoever means to change one changes it here as well.
func TestEachNetworkBeginsAsPromised(t *testing.T) {
	const hpips, hour, day = 1_000_000, 3600, 86_400
	public := promised{
		committee: committeev1.Params{
			Seats: 101, EpochBlocks: 720, ClaimBlocks: 540, DaySeconds: day, HeartbeatSeconds: 30,
			KeyAgeDays: 30, KeyAgeEpochs: 1, TicketDays: 8, NewTicketsPermille: 30, NewTicketsMin: 10,
			SlotSeconds: hour, WindowSlots: 7 * 24, PickedSlots: 10, NeededSlots: 8, Observers: 8, Signatures: 5,
			SeatsPerOwner: 1, SeatsPerNetwork: 1, AbsenceWindow: 60, AbsenceMissed: 30,
			FirstDrawDay: 31, GuardianTickets: 5000, GuardianDays: 30, GuardianHeight: 10_000_000,
		},
		carried: 3, levy: 1 * hpips, levyDays: 30, bond: 2 * hpips, held: 250, whole: 10 * hpips, returns: 14 * day, grace: 3 * day, bonusDay: 31, voting: 7 * day * time.Second,
	}
	pool := public // people who know each other, behind a few lines: no waiting, no limits by owner or network, and nobody has to earn a ticket
	pool.committee.KeyAgeDays, pool.committee.FirstDrawDay, pool.committee.NewTicketsPermille, pool.committee.NewTicketsMin = 0, 1, 0, 0
	pool.committee.SeatsPerOwner, pool.committee.SeatsPerNetwork, pool.levy, pool.bond = 0, 0, 0, 0
	dev := public // the same rules in a day of a minute
	dev.committee.Seats, dev.committee.EpochBlocks, dev.committee.ClaimBlocks, dev.committee.DaySeconds, dev.committee.HeartbeatSeconds = 4, 20, 15, 60, 10
	dev.committee.KeyAgeDays, dev.committee.KeyAgeEpochs, dev.committee.TicketDays, dev.committee.NewTicketsPermille, dev.committee.NewTicketsMin = 0, 1, 30, 0, 0
	dev.committee.SlotSeconds, dev.committee.WindowSlots, dev.committee.PickedSlots, dev.committee.NeededSlots = 20, 3, 1, 1
	dev.committee.SeatsPerOwner, dev.committee.SeatsPerNetwork, dev.committee.FirstDrawDay, dev.committee.GuardianHeight = 0, 0, 0, 0
	dev.levy, dev.bond, dev.returns, dev.grace, dev.bonusDay, dev.voting = 0, 0, 14*60, 60, 1, time.Minute

	for network, want := range map[string]promised{chain.Public: public, chain.Pool: pool, chain.Dev: dev} {
		g := genesis(t, "alice")
		if g.Network = network; network == chain.Public {
			g.Grants = nil
		}
		doc, err := g.Build()
		if err != nil {
			t.Fatal(err)
		}
		d := deskOn(t, doc)
		d.block()
		var c committeev1.QueryParamsResponse
		var r registryv1.QueryParamsResponse
		var w rewardv1.QueryParamsResponse
		var b bondv1.QueryParamsResponse
		var e escrowv1.QueryParamsResponse
		var v govv1.QueryParamsResponse
		d.ask("/hpips.committee.v1.Query/Params", &committeev1.QueryParamsRequest{}, &c)
		d.ask("/hpips.registry.v1.Query/Params", &registryv1.QueryParamsRequest{}, &r)
		d.ask("/hpips.reward.v1.Query/Params", &rewardv1.QueryParamsRequest{}, &w)
		d.ask("/hpips.bond.v1.Query/Params", &bondv1.QueryParamsRequest{}, &b)
		d.ask("/hpips.escrow.v1.Query/Params", &escrowv1.QueryParamsRequest{}, &e)
		d.ask("/cosmos.gov.v1.Query/Params", &govv1.QueryParamsRequest{}, &v)
		if v.Params == nil || v.Params.VotingPeriod == nil {
			t.Fatalf("%s: votes without an end: %v", network, v.Params)
		}
		is := promised{c.Params, r.Params.CarriedPerDay, w.Params.TicketLevy, w.Params.TicketDays, b.Params.TicketBond, b.Params.HoldPermille, b.Params.LeastTarget, b.Params.ReturnSeconds,
			e.Params.GraceSeconds, w.Params.BonusDay, *v.Params.VotingPeriod}
		if is != want {
			t.Errorf("%s begins with\n%+v, people were told\n%+v", network, is, want)
		}
	}
}
