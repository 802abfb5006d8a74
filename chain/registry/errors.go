package registry

import errorsmod "cosmossdk.io/errors"

// The reasons for which the registry refuses.
var (
	ErrAuthority = errorsmod.Register(Name, 2, "only a vote may do this")
	ErrParams    = errorsmod.Register(Name, 3, "parameters are not possible")
	ErrAddress   = errorsmod.Register(Name, 4, "address is not possible")
	ErrWord      = errorsmod.Register(Name, 5, "registration is malformed")
	ErrChain     = errorsmod.Register(Name, 6, "registration is for another chain")
	ErrHeight    = errorsmod.Register(Name, 7, "registration is not for this height")
	ErrOwner     = errorsmod.Register(Name, 8, "owner is another one")
	ErrProof     = errorsmod.Register(Name, 9, "signature or proof of possession is wrong")
	ErrKeyUsed   = errorsmod.Register(Name, 10, "key was registered before")
	ErrUnknown   = errorsmod.Register(Name, 11, "node is not registered")
	ErrStanding  = errorsmod.Register(Name, 12, "node does not take part any more")
	ErrCarrier   = errorsmod.Register(Name, 13, "carrier owns no node of an earlier day that takes part")
	ErrCarried   = errorsmod.Register(Name, 14, "carrier brought in as many nodes today as it may")
)
