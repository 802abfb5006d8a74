package governance

import errorsmod "cosmossdk.io/errors"

// The reasons for which a proposal, a vote or a question is refused.
var (
	ErrMessage = errorsmod.Register(Name, 2, "a proposal may not hold this message")
	ErrBurns   = errorsmod.Register(Name, 3, "deposits are never burned")
	ErrUnknown = errorsmod.Register(Name, 4, "proposal has no ballot")
	ErrEngine  = errorsmod.Register(Name, 5, "the chain could not live with these parameters of its engine")
	ErrBallots = errorsmod.Register(Name, 6, "an account votes on no more open proposals at once")
)
