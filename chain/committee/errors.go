package committee

import errorsmod "cosmossdk.io/errors"

// What is refused carries one of these codes. They are part of the chain's interface: never renumber them.
var (
	ErrMalformed = errorsmod.Register(Name, 2, "malformed message")
	ErrSender    = errorsmod.Register(Name, 3, "sender is not the node's address")
	ErrNode      = errorsmod.Register(Name, 4, "node is not registered or does not take part")
	ErrSignature = errorsmod.Register(Name, 5, "signature is wrong")
	ErrKeyAge    = errorsmod.Register(Name, 6, "keys are too young")
	ErrReceipts  = errorsmod.Register(Name, 7, "receipts are wrong")
	ErrOffline   = errorsmod.Register(Name, 8, "too few slots are proven")
	ErrCredit    = errorsmod.Register(Name, 9, "work, duty or bond is lacking")
	ErrEarly     = errorsmod.Register(Name, 10, "ticket is good for long enough")
	ErrWaiting   = errorsmod.Register(Name, 11, "node waits for the day's lot already")
	ErrTicket    = errorsmod.Register(Name, 12, "node holds no ticket")
	ErrKeys      = errorsmod.Register(Name, 13, "keys changed since the ticket was taken out")
	ErrEpoch     = errorsmod.Register(Name, 14, "not the epoch that draws")
	ErrLate      = errorsmod.Register(Name, 15, "claims are not open")
	ErrYoung     = errorsmod.Register(Name, 16, "ticket is younger than the draw")
	ErrProof     = errorsmod.Register(Name, 17, "proof is wrong")
	ErrThreshold = errorsmod.Register(Name, 18, "draw did not win")
	ErrTwice     = errorsmod.Register(Name, 19, "said already")
	ErrSeat      = errorsmod.Register(Name, 20, "node holds no seat")
	ErrSlot      = errorsmod.Register(Name, 21, "not a slot to apply in")
	ErrParams    = errorsmod.Register(Name, 22, "parameters are impossible")
	ErrAuthority = errorsmod.Register(Name, 23, "only a vote may do this")
	ErrSeed      = errorsmod.Register(Name, 24, "seed is wrong")
	ErrGenesis   = errorsmod.Register(Name, 25, "genesis is impossible")
)
