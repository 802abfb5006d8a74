package audit

import errorsmod "cosmossdk.io/errors"

// The reasons for which something is refused. They are part of the chain's interface: never renumber them.
var (
	ErrAuthority = errorsmod.Register(Name, 2, "only a vote may do this")
	ErrParams    = errorsmod.Register(Name, 3, "parameters are not possible")
	ErrMalformed = errorsmod.Register(Name, 4, "malformed message")
	ErrSender    = errorsmod.Register(Name, 5, "sender is not the node's address")
	ErrUnknown   = errorsmod.Register(Name, 6, "there is no such audit that is open")
	ErrPanel     = errorsmod.Register(Name, 7, "panel is not possible")
	ErrDiffer    = errorsmod.Register(Name, 8, "jurors of a panel said different things: dispute it")
	ErrSignature = errorsmod.Register(Name, 9, "signature is wrong")
	ErrTicket    = errorsmod.Register(Name, 10, "juror has no ticket from before the matter")
	ErrParty     = errorsmod.Register(Name, 11, "juror is a party, or of the same owner or network as a party or another juror")
	ErrProof     = errorsmod.Register(Name, 12, "proof is wrong")
	ErrLost      = errorsmod.Register(Name, 13, "juror was not drawn, or enough others have lower ranks")
	ErrLeaf      = errorsmod.Register(Name, 14, "leaf is not one of these results")
	ErrAgreed    = errorsmod.Register(Name, 15, "nobody said anything else: there is nothing to dispute")
	ErrAsked     = errorsmod.Register(Name, 16, "that was disputed before")
	ErrAside     = errorsmod.Register(Name, 17, "what is free of the lease does not pay a jury: add to its deposit")
	ErrMany      = errorsmod.Register(Name, 18, "the lease has as many disputes as go at once")
	ErrPhase     = errorsmod.Register(Name, 19, "the dispute is not there, in another round, or not at that")
	ErrTwice     = errorsmod.Register(Name, 20, "the juror did that already")
	ErrSeen      = errorsmod.Register(Name, 21, "the juror, or another node of its owner, spoke in this matter before")
	ErrOpening   = errorsmod.Register(Name, 22, "that does not open the commitment")
	ErrFinal     = errorsmod.Register(Name, 23, "the pay is final, and the node was not convicted")
	// ErrRests tells whoever moves money to come again: nothing was moved.
	ErrRests  = errorsmod.Register(Name, 24, "an invariant of the supply is broken: payouts rest until an upgrade")
	ErrBarred = errorsmod.Register(Name, 25, "juror was found wrong not long ago")
)
