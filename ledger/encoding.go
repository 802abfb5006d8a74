package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/cosmos/cosmos-sdk/client"
	"github.com/cosmos/cosmos-sdk/codec"
	"github.com/cosmos/cosmos-sdk/codec/address"
	"github.com/cosmos/cosmos-sdk/codec/types"
	"github.com/cosmos/cosmos-sdk/std"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/bech32"
	"github.com/cosmos/cosmos-sdk/types/msgservice"
	authtx "github.com/cosmos/cosmos-sdk/x/auth/tx"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	vesting "github.com/cosmos/cosmos-sdk/x/auth/vesting/types"
	"github.com/cosmos/cosmos-sdk/x/authz"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	consensustypes "github.com/cosmos/cosmos-sdk/x/consensus/types"
	"github.com/cosmos/cosmos-sdk/x/feegrant"
	govv1 "github.com/cosmos/cosmos-sdk/x/gov/types/v1"
	govv1beta1 "github.com/cosmos/cosmos-sdk/x/gov/types/v1beta1"
	"github.com/cosmos/cosmos-sdk/x/tx/signing"
	upgradetypes "github.com/cosmos/cosmos-sdk/x/upgrade/types"
	"github.com/cosmos/gogoproto/proto"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/proto/gen/archivev1"
	"github.com/hpips/hpips/proto/gen/auditv1"
	"github.com/hpips/hpips/proto/gen/bondv1"
	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/proto/gen/dealv1"
	"github.com/hpips/hpips/proto/gen/escrowv1"
	"github.com/hpips/hpips/proto/gen/exchangev1"
	"github.com/hpips/hpips/proto/gen/registryv1"
	"github.com/hpips/hpips/proto/gen/rewardv1"
	"github.com/hpips/hpips/proto/gen/storagev1"
	"github.com/hpips/hpips/proto/gen/supplyv1"
	"github.com/hpips/hpips/spec/job"
)

// Prefix is how addresses of accounts begin.
const Prefix = "hpips"

// encoding is how the chain's words are written.
type encoding struct {
	registry types.InterfaceRegistry
	codec    codec.Codec
	tx       client.TxConfig
}

// prefixes tells the SDK, once in a process, how addresses begin: it remembers the text of each address that it ever wrote, so this comes
// before anything else of it. The chain does the same.
var prefixes = sync.OnceFunc(func() {
	c := sdk.GetConfig()
	c.SetBech32PrefixForAccount(Prefix, Prefix+"pub")
	c.SetBech32PrefixForValidator(Prefix+"valoper", Prefix+"valoperpub")
	c.SetBech32PrefixForConsensusNode(Prefix+"valcons", Prefix+"valconspub")
	c.SetCoinType(CoinType)
})

func newEncoding() (encoding, error) {
	prefixes()
	accounts, operators := address.NewBech32Codec(Prefix), address.NewBech32Codec(Prefix+"valoper")
	registry, err := types.NewInterfaceRegistryWithOptions(types.InterfaceRegistryOptions{
		ProtoFiles:     proto.HybridResolver,
		SigningOptions: signing.Options{AddressCodec: accounts, ValidatorAddressCodec: operators},
	})
	if err != nil {
		return encoding{}, err
	}
	for _, register := range []func(types.InterfaceRegistry){
		std.RegisterInterfaces, authtypes.RegisterInterfaces, vesting.RegisterInterfaces, banktypes.RegisterInterfaces, authz.RegisterInterfaces,
		feegrant.RegisterInterfaces, govv1.RegisterInterfaces, govv1beta1.RegisterInterfaces, upgradetypes.RegisterInterfaces, consensustypes.RegisterInterfaces,
	} {
		register(registry)
	}
	msgservice.RegisterMsgServiceDesc(registry, &registryv1.Msg_serviceDesc)
	msgservice.RegisterMsgServiceDesc(registry, &committeev1.Msg_serviceDesc)
	msgservice.RegisterMsgServiceDesc(registry, &supplyv1.Msg_serviceDesc)
	msgservice.RegisterMsgServiceDesc(registry, &escrowv1.Msg_serviceDesc)
	msgservice.RegisterMsgServiceDesc(registry, &rewardv1.Msg_serviceDesc)
	msgservice.RegisterMsgServiceDesc(registry, &exchangev1.Msg_serviceDesc)
	msgservice.RegisterMsgServiceDesc(registry, &bondv1.Msg_serviceDesc)
	msgservice.RegisterMsgServiceDesc(registry, &auditv1.Msg_serviceDesc)
	msgservice.RegisterMsgServiceDesc(registry, &archivev1.Msg_serviceDesc)
	msgservice.RegisterMsgServiceDesc(registry, &storagev1.Msg_serviceDesc)
	msgservice.RegisterMsgServiceDesc(registry, &dealv1.Msg_serviceDesc)
	registry.RegisterImplementations((*authz.Authorization)(nil), &budget{})
	c := codec.NewProtoCodec(registry)
	tx, err := authtx.NewTxConfigWithOptions(c, authtx.ConfigOptions{
		EnabledSignModes: authtx.DefaultSignModes,
		SigningOptions:   &signing.Options{FileResolver: registry, AddressCodec: accounts, ValidatorAddressCodec: operators},
	})
	return encoding{registry, c, tx}, err
}

// Message is one thing that a transaction asks for.
type Message = sdk.Msg

// words writes a message as JSON for people, with its type.
func (e encoding) words(m Message) (json.RawMessage, error) { return e.codec.MarshalInterfaceJSON(m) }

// read reads messages as JSON, each with its "@type".
func (e encoding) read(text []byte) ([]Message, error) {
	var raw []json.RawMessage
	dec := json.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(&raw); err != nil {
		return nil, err
	}
	if len(raw) == 0 {
		return nil, errors.New("there is no message in it")
	}
	var all []Message
	for i, one := range raw {
		var m Message
		if err := e.codec.UnmarshalInterfaceJSON(one, &m); err != nil {
			return nil, fmt.Errorf("message %d: %w", i+1, err)
		}
		all = append(all, m)
	}
	return all, nil
}

// CheckAddress says in one sentence why a word is no address of this chain.
func CheckAddress(text string) error {
	_, err := addressBytes(text)
	return err
}

// Foreign is what a word begins with that is written as an address of another network is: cosmos of cosmos1…; "": it is not.
func Foreign(text string) string {
	m := shaped.FindStringSubmatch(text)
	if m == nil || m[1] == Prefix {
		return ""
	}
	return m[1]
}

var shaped = regexp.MustCompile(`^([a-z]{2,})1[0-9a-z]{3,}$`)

// looks says what a right address looks like.
const looks = "an address of HPIPS has 44 letters and begins with " + Prefix + "1; hpips wallet show prints those of a wallet"

func addressBytes(text string) ([]byte, error) {
	bad := func(format string, args ...any) error {
		return &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf(format, args...), Hint: looks}
	}
	if len(text) > 90 {
		return nil, bad("an address of %d letters is none", len(text))
	}
	prefix, b, err := bech32.DecodeAndConvert(text)
	switch other := Foreign(text); {
	case err == nil && prefix != Prefix:
		return nil, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("%s is an address of another network: it begins with %s1, those of HPIPS with %s1", text, prefix, Prefix),
			Hint: "ask for an address of HPIPS, what is sent to another network's is lost; " + looks}
	case other != "":
		return nil, bad("%q is no address of HPIPS: it begins with %s1, as those of another network do", text, other)
	case err != nil && strings.HasPrefix(text, Prefix+"1"):
		return nil, bad("%q is no address: letters are wrong, missing or too many", text)
	case err != nil:
		return nil, bad("%q is no address", text)
	case len(b) != 20 && len(b) != 32:
		return nil, bad("%q is no address: %d bytes instead of 20", text, len(b))
	}
	return b, nil
}

// addressText writes an address.
func addressText(b []byte) string {
	text, err := bech32.ConvertAndEncode(Prefix, b)
	if err != nil {
		return fmt.Sprintf("%x", b)
	}
	return text
}

// NodeText writes a node's key as the house names nodes everywhere: the peer id.
func NodeText(key []byte) string {
	public, err := crypto.UnmarshalEd25519PublicKey(key)
	if err != nil {
		return fmt.Sprintf("%x", key)
	}
	id, err := peer.IDFromPublicKey(public)
	if err != nil {
		return fmt.Sprintf("%x", key)
	}
	return id.String()
}

// NodeKey reads what NodeText writes.
func NodeKey(text string) ([]byte, error) {
	id, err := peer.Decode(strings.TrimSpace(text))
	if err == nil {
		var public crypto.PubKey
		if public, err = id.ExtractPublicKey(); err == nil && public.Type() == crypto.Ed25519 {
			return public.Raw()
		}
	}
	return nil, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("%.80q is no node", text), Hint: "a node's name begins with 12D3Koo; see hpips status"}
}
