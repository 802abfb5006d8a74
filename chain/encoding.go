package chain

import (
	"errors"
	"fmt"

	errorsmod "cosmossdk.io/errors"
	"github.com/cosmos/cosmos-sdk/client"
	"github.com/cosmos/cosmos-sdk/codec"
	"github.com/cosmos/cosmos-sdk/codec/address"
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	"github.com/cosmos/cosmos-sdk/std"
	sdk "github.com/cosmos/cosmos-sdk/types"
	sdkerrors "github.com/cosmos/cosmos-sdk/types/errors"
	"github.com/cosmos/cosmos-sdk/types/module"
	"github.com/cosmos/cosmos-sdk/types/msgservice"
	txtypes "github.com/cosmos/cosmos-sdk/types/tx"
	"github.com/cosmos/cosmos-sdk/x/auth"
	authsigning "github.com/cosmos/cosmos-sdk/x/auth/signing"
	authtx "github.com/cosmos/cosmos-sdk/x/auth/tx"
	"github.com/cosmos/cosmos-sdk/x/auth/vesting"
	authzmodule "github.com/cosmos/cosmos-sdk/x/authz/module"
	"github.com/cosmos/cosmos-sdk/x/bank"
	"github.com/cosmos/cosmos-sdk/x/consensus"
	feegrantmodule "github.com/cosmos/cosmos-sdk/x/feegrant/module"
	"github.com/cosmos/cosmos-sdk/x/gov"
	"github.com/cosmos/cosmos-sdk/x/tx/signing"
	"github.com/cosmos/cosmos-sdk/x/upgrade"
	"github.com/cosmos/gogoproto/proto"
	"google.golang.org/grpc"

	"github.com/hpips/hpips/chain/escrow"
	archivev1 "github.com/hpips/hpips/proto/gen/archivev1"
	auditv1 "github.com/hpips/hpips/proto/gen/auditv1"
	bondv1 "github.com/hpips/hpips/proto/gen/bondv1"
	committeev1 "github.com/hpips/hpips/proto/gen/committeev1"
	dealv1 "github.com/hpips/hpips/proto/gen/dealv1"
	exchangev1 "github.com/hpips/hpips/proto/gen/exchangev1"
	registryv1 "github.com/hpips/hpips/proto/gen/registryv1"
	rewardv1 "github.com/hpips/hpips/proto/gen/rewardv1"
	storagev1 "github.com/hpips/hpips/proto/gen/storagev1"
	supplyv1 "github.com/hpips/hpips/proto/gen/supplyv1"
)

// What every wallet of this chain must know.
const (
	Prefix   = "hpips"
	Base     = "uhpips"
	Display  = "HPIPS"
	Exponent = 6
	CoinType = 118
)

// Bounds on one transaction.
const (
	MaxTx      = 128 << 10 // bytes
	maxSigners = 64
	maxDepth   = 4 // of multisignatures in multisignatures
)

// Codec is what it takes to read and write this chain's messages and transactions.
type Codec struct {
	codec.Codec
	Registry codectypes.InterfaceRegistry
	Tx       client.TxConfig
	Amino    *codec.LegacyAmino
}

// prefixed says that the SDK's global address prefixes are ours. It happens before anything else runs: the SDK keeps the text of each
// address that was ever written, and would go on with its own prefix for those written earlier.
var prefixed = func() bool {
	config := sdk.GetConfig()
	config.SetBech32PrefixForAccount(Prefix, Prefix+"pub")
	config.SetBech32PrefixForValidator(Prefix+"valoper", Prefix+"valoperpub")
	config.SetBech32PrefixForConsensusNode(Prefix+"valcons", Prefix+"valconspub")
	config.SetCoinType(CoinType)
	return true
}()

// ours are the message services of our own modules.
func ours() []*grpc.ServiceDesc {
	return []*grpc.ServiceDesc{&registryv1.Msg_serviceDesc, &committeev1.Msg_serviceDesc, &supplyv1.Msg_serviceDesc, &rewardv1.Msg_serviceDesc, &exchangev1.Msg_serviceDesc,
		&bondv1.Msg_serviceDesc, &auditv1.Msg_serviceDesc, &archivev1.Msg_serviceDesc, &storagev1.Msg_serviceDesc, &dealv1.Msg_serviceDesc}
}

// Encoding makes a codec that knows all messages of the chain. Clients and tests use it, too.
func Encoding() (Codec, error) {
	if !prefixed {
		return Codec{}, errors.New("chain encoding: address prefixes are not set")
	}
	registry, err := codectypes.NewInterfaceRegistryWithOptions(codectypes.InterfaceRegistryOptions{
		ProtoFiles: proto.HybridResolver,
		SigningOptions: signing.Options{
			AddressCodec:          address.NewBech32Codec(Prefix),
			ValidatorAddressCodec: address.NewBech32Codec(Prefix + "valoper"),
		},
	})
	if err != nil {
		return Codec{}, fmt.Errorf("chain encoding: %w", err)
	}
	amino := codec.NewLegacyAmino()
	std.RegisterInterfaces(registry)
	std.RegisterLegacyAminoCodec(amino)
	basics := module.NewBasicManager(auth.AppModuleBasic{}, vesting.AppModuleBasic{}, bank.AppModuleBasic{}, authzmodule.AppModuleBasic{},
		feegrantmodule.AppModuleBasic{}, consensus.AppModuleBasic{}, upgrade.AppModuleBasic{}, gov.NewAppModuleBasic(nil))
	basics.RegisterInterfaces(registry)
	basics.RegisterLegacyAminoCodec(amino)
	for _, service := range ours() {
		msgservice.RegisterMsgServiceDesc(registry, service)
	}
	escrow.RegisterInterfaces(registry)
	cdc := codec.NewProtoCodec(registry)
	plain := authtx.DefaultTxDecoder(cdc)
	config, err := authtx.NewTxConfigWithOptions(cdc, authtx.ConfigOptions{
		EnabledSignModes: authtx.DefaultSignModes,
		SigningOptions: &signing.Options{
			FileResolver:          registry,
			AddressCodec:          address.NewBech32Codec(Prefix),
			ValidatorAddressCodec: address.NewBech32Codec(Prefix + "valoper"),
		},
		ProtoDecoder: func(bytes []byte) (sdk.Tx, error) { return decode(plain, bytes) },
	})
	if err != nil {
		return Codec{}, fmt.Errorf("chain encoding: %w", err)
	}
	return Codec{Codec: cdc, Registry: registry, Tx: config, Amino: amino}, nil
}

// decode reads a transaction and refuses what the SDK's code behind it would stumble over: fields that are absent where it looks
// into them unasked, and messages that name nobody who could sign them.
func decode(plain sdk.TxDecoder, bytes []byte) (sdk.Tx, error) {
	if len(bytes) > MaxTx {
		return nil, errorsmod.Wrapf(sdkerrors.ErrTxTooLarge, "%d bytes, at most %d", len(bytes), MaxTx)
	}
	tx, err := plain(bytes)
	if err != nil {
		return nil, err
	}
	holder, ok := tx.(interface{ GetProtoTx() *txtypes.Tx })
	if !ok {
		return nil, errorsmod.Wrapf(sdkerrors.ErrTxDecode, "transaction of type %T", tx)
	}
	if err := whole(holder.GetProtoTx()); err != nil {
		return nil, errorsmod.Wrap(sdkerrors.ErrTxDecode, err.Error())
	}
	signed, ok := tx.(authsigning.SigVerifiableTx)
	if !ok {
		return nil, errorsmod.Wrapf(sdkerrors.ErrTxDecode, "transaction of type %T", tx)
	}
	if _, err := signed.GetSigners(); err != nil { // the SDK would refuse it without a code
		return nil, errorsmod.Wrapf(sdkerrors.ErrInvalidAddress, "who has to sign: %v", err)
	}
	return tx, nil
}

func whole(tx *txtypes.Tx) error {
	switch {
	case tx.Body == nil || tx.AuthInfo == nil:
		return errors.New("no body or no authentication")
	case tx.AuthInfo.Fee == nil:
		return errors.New("no fee")
	case len(tx.AuthInfo.SignerInfos) > maxSigners || len(tx.Signatures) > maxSigners:
		return fmt.Errorf("more than %d signers", maxSigners)
	}
	for _, message := range tx.Body.Messages {
		if message == nil || message.GetCachedValue() == nil {
			return errors.New("empty message")
		}
	}
	if payer := tx.AuthInfo.Fee.Payer; payer != "" {
		if _, err := sdk.AccAddressFromBech32(payer); err != nil {
			return fmt.Errorf("fee payer: %w", err)
		}
	}
	if granter := tx.AuthInfo.Fee.Granter; granter != "" {
		if _, err := sdk.AccAddressFromBech32(granter); err != nil {
			return fmt.Errorf("fee granter: %w", err)
		}
	}
	for _, signer := range tx.AuthInfo.SignerInfos {
		if signer == nil {
			return errors.New("empty signer")
		}
		if err := mode(signer.ModeInfo, maxDepth); err != nil {
			return err
		}
	}
	return nil
}

// mode checks that a signer says how it signed, all the way down.
func mode(info *txtypes.ModeInfo, depth int) error {
	if info == nil || depth == 0 {
		return errors.New("no sign mode, or multisignatures nested too deep")
	}
	switch sum := info.Sum.(type) {
	case *txtypes.ModeInfo_Single_:
		if sum.Single == nil {
			return errors.New("empty sign mode")
		}
	case *txtypes.ModeInfo_Multi_:
		if sum.Multi == nil || sum.Multi.Bitarray == nil || len(sum.Multi.ModeInfos) > maxSigners {
			return errors.New("malformed multisignature")
		}
		for _, part := range sum.Multi.ModeInfos {
			if err := mode(part, depth-1); err != nil {
				return err
			}
		}
	default:
		return errors.New("no sign mode")
	}
	return nil
}
