package reward

import errorsmod "cosmossdk.io/errors"

// The reasons for which a payment, a claim or a question is refused.
var (
	ErrAuthority = errorsmod.Register(Name, 2, "only a vote may do this")
	ErrParams    = errorsmod.Register(Name, 3, "parameters are not possible")
	ErrAmount    = errorsmod.Register(Name, 4, "amount is not possible")
	ErrNode      = errorsmod.Register(Name, 5, "node is not possible")
	ErrHolder    = errorsmod.Register(Name, 6, "holder is not possible")
	ErrNothing   = errorsmod.Register(Name, 7, "nothing whole is owed yet")
	// ErrRests tells whoever pays to keep the money and to come again: nothing was moved.
	ErrRests = errorsmod.Register(Name, 8, "an invariant of the supply is broken: payouts rest until an upgrade")
	ErrDay   = errorsmod.Register(Name, 9, "no day is closed yet")
)
