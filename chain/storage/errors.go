package storage

import errorsmod "cosmossdk.io/errors"

// The reasons for which something is refused. They are part of the chain's interface: never renumber them.
var (
	ErrMalformed = errorsmod.Register(Name, 2, "malformed message")
	ErrSender    = errorsmod.Register(Name, 3, "sender is not the node's address")
	ErrNode      = errorsmod.Register(Name, 4, "node does not take part")
	ErrEpoch     = errorsmod.Register(Name, 5, "it was said in another epoch")
	ErrSignature = errorsmod.Register(Name, 6, "signature is wrong")
	ErrTwice     = errorsmod.Register(Name, 7, "it was said before")
	ErrSegment   = errorsmod.Register(Name, 8, "no such segment has a place yet")
	ErrPlace     = errorsmod.Register(Name, 9, "others are to keep it")
	ErrDay       = errorsmod.Register(Name, 10, "it is not asked for now")
	ErrWitness   = errorsmod.Register(Name, 11, "the day's auditors did not say so")
	ErrDoubted   = errorsmod.Register(Name, 12, "the answer itself is asked for")
	ErrWrong     = errorsmod.Register(Name, 13, "the answer is wrong")
	ErrRight     = errorsmod.Register(Name, 14, "the answer is right")
	ErrParams    = errorsmod.Register(Name, 15, "parameters are not possible")
	ErrAuthority = errorsmod.Register(Name, 16, "only a vote may do this")
	ErrFull      = errorsmod.Register(Name, 17, "holder has as many pieces as one may have")
	ErrLeaves    = errorsmod.Register(Name, 18, "holder leaves and takes nothing more")
	ErrOffer     = errorsmod.Register(Name, 19, "node offers no room for parts of deals, or has none left")
)
