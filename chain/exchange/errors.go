package exchange

import errorsmod "cosmossdk.io/errors"

// The reasons for which the exchange refuses.
var (
	ErrAuthority = errorsmod.Register(Name, 2, "only a vote may do this")
	ErrParams    = errorsmod.Register(Name, 3, "parameters are not possible")
	ErrAddress   = errorsmod.Register(Name, 4, "address is not possible")
	ErrDenom     = errorsmod.Register(Name, 5, "asset is not admitted")
	ErrAsset     = errorsmod.Register(Name, 6, "asset cannot be admitted")
	ErrSide      = errorsmod.Register(Name, 7, "order neither buys nor sells")
	ErrPrice     = errorsmod.Register(Name, 8, "limit is not possible")
	ErrAmount    = errorsmod.Register(Name, 9, "amount is not possible")
	ErrLeast     = errorsmod.Register(Name, 10, "order is too small")
	ErrMany      = errorsmod.Register(Name, 11, "account has as many open orders as it may")
	ErrUnknown   = errorsmod.Register(Name, 12, "no such open order")
	ErrOwner     = errorsmod.Register(Name, 13, "order is somebody else's")
	ErrBroken    = errorsmod.Register(Name, 14, "an invariant of the supply is broken: the exchange rests until an upgrade, what is open can be cancelled")
)
