package escrow

import errorsmod "cosmossdk.io/errors"

// What is refused carries one of these codes. They are part of the chain's interface: never renumber them.
var (
	ErrAuthority = errorsmod.Register(Name, 2, "only a vote may do this")
	ErrParams    = errorsmod.Register(Name, 3, "parameters are not possible")
	ErrAddress   = errorsmod.Register(Name, 4, "address is not possible")
	ErrBatch     = errorsmod.Register(Name, 5, "a message holds none, or too many")
	ErrMalformed = errorsmod.Register(Name, 6, "malformed message")
	ErrUsed      = errorsmod.Register(Name, 7, "lease was opened before")
	ErrNode      = errorsmod.Register(Name, 8, "node is not registered or does not take part")
	ErrKey       = errorsmod.Register(Name, 9, "voucher key is not possible")
	ErrDenom     = errorsmod.Register(Name, 10, "asset is not admitted")
	ErrAmount    = errorsmod.Register(Name, 11, "amount is not possible")
	ErrFunds     = errorsmod.Register(Name, 12, "payer has not that much to spend")
	ErrUntil     = errorsmod.Register(Name, 13, "end of the term is not possible")
	ErrUnknown   = errorsmod.Register(Name, 14, "lease is not known")
	ErrParty     = errorsmod.Register(Name, 15, "lease is somebody else's")
	ErrPhase     = errorsmod.Register(Name, 16, "lease is not open")
	ErrSender    = errorsmod.Register(Name, 17, "sender is not the node's address")
	ErrChain     = errorsmod.Register(Name, 18, "voucher is for another chain")
	ErrTwice     = errorsmod.Register(Name, 19, "lease comes twice in one message")
	ErrOld       = errorsmod.Register(Name, 20, "voucher promises no more than was redeemed")
	ErrDeposit   = errorsmod.Register(Name, 21, "voucher promises more than the deposit")
	ErrFee       = errorsmod.Register(Name, 22, "less HPIPS is redeemed than the fee")
	ErrSignature = errorsmod.Register(Name, 23, "signature is wrong")
	ErrGrace     = errorsmod.Register(Name, 24, "lease's grace is over")
	ErrResting   = errorsmod.Register(Name, 25, "payouts rest until an upgrade")
	ErrBudget    = errorsmod.Register(Name, 26, "more than the spending key's budget")
	ErrQuestion  = errorsmod.Register(Name, 27, "question is not possible")
)
