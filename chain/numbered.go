package chain

import (
	"context"

	sdk "github.com/cosmos/cosmos-sdk/types"
	authkeeper "github.com/cosmos/cosmos-sdk/x/auth/keeper"
)

// numbered numbers new accounts so that wallets in JavaScript can sign for them. The SDK draws 64-bit numbers; most wallets read a number into
// a double, which holds 53 bits, and refuse what is above. The upper half of these 53 bits keeps clear of the genesis, which counts from 0.
// Should two accounts ever be given one number, the second one's transaction fails, and passes in any later block.
type numbered struct{ authkeeper.AccountKeeper }

// topNumber is the highest bit of a number that a double holds exactly.
const topNumber = uint64(1) << 52

// NewAccountWithAddress makes an account and leaves storing it to the caller.
func (n numbered) NewAccountWithAddress(ctx context.Context, who sdk.AccAddress) sdk.AccountI {
	account := n.AccountKeeper.NewAccountWithAddress(ctx, who)
	if err := account.SetAccountNumber(account.GetAccountNumber()%topNumber | topNumber); err != nil {
		panic(err) // the SDK's accounts take any number
	}
	return account
}
