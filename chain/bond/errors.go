package bond

import errorsmod "cosmossdk.io/errors"

// The reasons for which something is refused. They are part of the chain's interface: never renumber them.
var (
	ErrAuthority = errorsmod.Register(Name, 2, "only a vote may do this")
	ErrParams    = errorsmod.Register(Name, 3, "parameters are not possible")
	ErrAmount    = errorsmod.Register(Name, 4, "amount is not possible")
	ErrOwner     = errorsmod.Register(Name, 5, "not the owner's")
	ErrNode      = errorsmod.Register(Name, 6, "node is not possible")
	ErrNothing   = errorsmod.Register(Name, 7, "there is no bond")
	ErrLeaving   = errorsmod.Register(Name, 8, "the bond was asked for already")
	ErrStays     = errorsmod.Register(Name, 9, "the bond was not asked for")
	// ErrRests tells whoever moves a bond to come again: nothing was moved.
	ErrRests = errorsmod.Register(Name, 10, "an invariant of the supply is broken: payouts rest until an upgrade")
)
