package supply

import errorsmod "cosmossdk.io/errors"

// The reasons for which a release, a burning or a reservation is refused.
var (
	ErrAuthority = errorsmod.Register(Name, 2, "only a vote may do this")
	ErrAmount    = errorsmod.Register(Name, 3, "amount is not possible")
	ErrPot       = errorsmod.Register(Name, 4, "not an account that a vote can release from")
	ErrReceiver  = errorsmod.Register(Name, 5, "receiver is not possible")
	ErrHalf      = errorsmod.Register(Name, 6, "releases would be more than half of what circulates")
	ErrBreach    = errorsmod.Register(Name, 7, "an invariant of the supply is broken: releases rest until an upgrade")
	ErrHolder    = errorsmod.Register(Name, 8, "holder is not possible")
	ErrReserved  = errorsmod.Register(Name, 9, "not so much is reserved")
)
