package archive

import errorsmod "cosmossdk.io/errors"

// The reasons for which something is refused. They are part of the chain's interface: never renumber them.
var (
	ErrMalformed = errorsmod.Register(Name, 2, "malformed message")
	ErrSender    = errorsmod.Register(Name, 3, "sender is not the node's address")
	ErrNext      = errorsmod.Register(Name, 4, "another entry comes next")
	ErrFuture    = errorsmod.Register(Name, 5, "there are no such blocks yet")
	ErrSeat      = errorsmod.Register(Name, 6, "node does not sit in the committee")
	ErrTwice     = errorsmod.Register(Name, 7, "the node spoke about this entry in this epoch")
	ErrSignature = errorsmod.Register(Name, 8, "signature is wrong")
	ErrEpoch     = errorsmod.Register(Name, 9, "it was said in another epoch")
)
