package deal

import errorsmod "cosmossdk.io/errors"

// The reasons for which something is refused. They are part of the chain's interface: never renumber them.
var (
	ErrMalformed = errorsmod.Register(Name, 2, "malformed message")
	ErrDays      = errorsmod.Register(Name, 3, "a deal is not possible for so many days")
	ErrDeposit   = errorsmod.Register(Name, 4, "the deposit is not possible")
	ErrDeal      = errorsmod.Register(Name, 5, "there is no such deal")
	ErrPayer     = errorsmod.Register(Name, 6, "the deal is another's")
	ErrOver      = errorsmod.Register(Name, 7, "the deal has ended")
	ErrTaken     = errorsmod.Register(Name, 8, "another node keeps it")
	ErrPlace     = errorsmod.Register(Name, 9, "others are to keep it")
	ErrParams    = errorsmod.Register(Name, 10, "parameters are not possible")
	ErrAuthority = errorsmod.Register(Name, 11, "only a vote may do this")
	ErrWaits     = errorsmod.Register(Name, 13, "it waits for who kept it: enough others are kept")
	// ErrRests tells whoever asks for pay to come again: nothing was moved.
	ErrRests = errorsmod.Register(Name, 12, "payouts rest")
)
