package chain

import (
	"cosmossdk.io/core/appmodule"
	"cosmossdk.io/core/store"
	"github.com/cosmos/cosmos-sdk/codec/address"
	"github.com/cosmos/cosmos-sdk/runtime"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/module"
	"github.com/cosmos/cosmos-sdk/x/auth"
	authkeeper "github.com/cosmos/cosmos-sdk/x/auth/keeper"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	"github.com/cosmos/cosmos-sdk/x/auth/vesting"
	vestingtypes "github.com/cosmos/cosmos-sdk/x/auth/vesting/types"
	"github.com/cosmos/cosmos-sdk/x/authz"
	authzkeeper "github.com/cosmos/cosmos-sdk/x/authz/keeper"
	authzmodule "github.com/cosmos/cosmos-sdk/x/authz/module"
	"github.com/cosmos/cosmos-sdk/x/bank"
	bankkeeper "github.com/cosmos/cosmos-sdk/x/bank/keeper"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	"github.com/cosmos/cosmos-sdk/x/consensus"
	consensuskeeper "github.com/cosmos/cosmos-sdk/x/consensus/keeper"
	consensustypes "github.com/cosmos/cosmos-sdk/x/consensus/types"
	"github.com/cosmos/cosmos-sdk/x/epochs"
	epochskeeper "github.com/cosmos/cosmos-sdk/x/epochs/keeper"
	epochstypes "github.com/cosmos/cosmos-sdk/x/epochs/types"
	"github.com/cosmos/cosmos-sdk/x/feegrant"
	feegrantkeeper "github.com/cosmos/cosmos-sdk/x/feegrant/keeper"
	feegrantmodule "github.com/cosmos/cosmos-sdk/x/feegrant/module"
	"github.com/cosmos/cosmos-sdk/x/gov"
	govkeeper "github.com/cosmos/cosmos-sdk/x/gov/keeper"
	govtypes "github.com/cosmos/cosmos-sdk/x/gov/types"
	"github.com/cosmos/cosmos-sdk/x/upgrade"
	upgradekeeper "github.com/cosmos/cosmos-sdk/x/upgrade/keeper"
	upgradetypes "github.com/cosmos/cosmos-sdk/x/upgrade/types"

	"github.com/hpips/hpips/chain/archive"
	"github.com/hpips/hpips/chain/audit"
	"github.com/hpips/hpips/chain/bond"
	"github.com/hpips/hpips/chain/committee"
	"github.com/hpips/hpips/chain/deal"
	"github.com/hpips/hpips/chain/escrow"
	"github.com/hpips/hpips/chain/exchange"
	"github.com/hpips/hpips/chain/governance"
	"github.com/hpips/hpips/chain/registry"
	"github.com/hpips/hpips/chain/reward"
	"github.com/hpips/hpips/chain/storage"
	"github.com/hpips/hpips/chain/supply"
)

// keepers are the parts of the state, each with its own store.
type keepers struct {
	account    authkeeper.AccountKeeper
	bank       bankkeeper.BaseKeeper
	authz      authzkeeper.Keeper
	feegrant   feegrantkeeper.Keeper
	consensus  consensuskeeper.Keeper
	upgrade    *upgradekeeper.Keeper
	upgrades   store.KVStoreService // of upgrade, whose export is empty
	epochs     epochskeeper.Keeper
	gov        *govkeeper.Keeper
	registry   registry.Keeper
	committee  committee.Keeper
	supply     supply.Keeper
	governance governance.Keeper
	escrow     escrow.Keeper
	reward     reward.Keeper
	exchange   exchange.Keeper
	bond       bond.Keeper
	audit      audit.Keeper
	archive    archive.Keeper
	storage    storage.Keeper
	deal       deal.Keeper
}

// storeNames are the stores that make the app hash.
func storeNames() []string {
	return []string{
		authtypes.StoreKey, banktypes.StoreKey, authzkeeper.StoreKey, feegrant.StoreKey, consensustypes.StoreKey, upgradetypes.StoreKey,
		epochstypes.StoreKey, govtypes.StoreKey, registry.Name, committee.Name, supply.Name, governance.Name,
		escrow.Name, reward.Name, exchange.Name, bond.Name, audit.Name, archive.Name, storage.Name, deal.Name,
	}
}

// permissions are the module accounts and what each may do. Nobody may mint; only what a holder gave to be burned is burned. x/gov asks
// for the right to burn deposits; its parameters never make use of it.
func permissions() map[string][]string {
	return map[string][]string{
		authtypes.FeeCollectorName: nil,
		govtypes.ModuleName:        {authtypes.Burner},
		supply.Name:                {authtypes.Burner},
		supply.Investors:           nil,
		supply.Founders:            nil,
		supply.Operations:          nil,
		supply.Community:           nil,
		supply.Fund:                nil,
		escrow.Name:                nil,
		reward.LevyAccount:         nil,
		reward.StreamAccount:       nil,
		exchange.Name:              nil,
		bond.Name:                  nil,
		deal.Name:                  nil,
	}
}

// accountNames are the module accounts, in the order in which they get their numbers.
func accountNames() []string {
	names := []string{authtypes.FeeCollectorName, govtypes.ModuleName, supply.Name}
	for _, a := range supply.Allocations() {
		names = append(names, a.Name)
	}
	return append(names, escrow.Name, reward.LevyAccount, reward.StreamAccount, exchange.Name, bond.Name, deal.Name)
}

// Authority is the address whose word is a vote's outcome.
func Authority() string { return bech32(authtypes.NewModuleAddress(govtypes.ModuleName)) }

// open makes the keepers. They know each other through adapters only, which look at a.keepers when they are asked.
func (a *App) open() error {
	keys := map[string]*storetypes.KVStoreKey{}
	for _, name := range storeNames() { // a name may begin with another's: each ends with a slash in the database
		keys[name] = storetypes.NewKVStoreKey(name)
		a.MountStores(keys[name])
	}
	service := func(name string) store.KVStoreService { return runtime.NewKVStoreService(keys[name]) }
	cdc, who, authority := a.codec.Codec, address.NewBech32Codec(Prefix), Authority()
	blocked := map[string]bool{} // nobody sends to a module's account by mistake
	for _, name := range accountNames() {
		blocked[bech32(authtypes.NewModuleAddress(name))] = true
	}
	k := &a.keepers
	k.consensus = consensuskeeper.NewKeeper(cdc, service(consensustypes.StoreKey), authority, runtime.EventService{})
	a.SetParamStore(k.consensus.ParamsStore)
	k.account = authkeeper.NewAccountKeeper(cdc, service(authtypes.StoreKey), authtypes.ProtoBaseAccount, permissions(), who, Prefix, authority)
	k.bank = bankkeeper.NewBaseKeeper(cdc, service(banktypes.StoreKey), numbered{k.account}, blocked, authority, a.Logger())
	k.authz = authzkeeper.NewKeeper(service(authzkeeper.StoreKey), cdc, a.MsgServiceRouter(), numbered{k.account})
	k.feegrant = feegrantkeeper.NewKeeper(cdc, service(feegrant.StoreKey), numbered{k.account}).SetBankKeeper(k.bank)
	k.upgrade = upgradekeeper.NewKeeper(nil, service(upgradetypes.StoreKey), cdc, a.options.Home, a.BaseApp, authority)
	k.upgrades = service(upgradetypes.StoreKey)
	k.epochs = epochskeeper.NewKeeper(service(epochstypes.StoreKey), cdc)
	k.registry = registry.NewKeeper(cdc, service(registry.Name), tickets{k}, who, authority)
	k.committee = committee.NewKeeper(cdc, service(committee.Name), who, nodes{k}, credit{k}, authority)
	k.supply = supply.NewKeeper(cdc, service(supply.Name), k.bank, k.account, accountNames(), authority, supply.Watched(holdings{k}),
		supply.Backed(escrow.Name, exchange.Name, bond.Name), supply.Checked(reward.Name, totals{k}))
	k.governance = governance.NewKeeper(cdc, service(governance.Name), k.supply, k.committee, who)
	k.gov = govkeeper.NewKeeper(cdc, service(govtypes.StoreKey), k.account, k.bank, nil, a.MsgServiceRouter(), govtypes.DefaultConfig(), authority,
		k.governance.Tally)
	k.gov.SetHooks(govtypes.NewMultiGovHooks(governance.NewHooks(k.governance, k.gov)))
	k.escrow = escrow.NewKeeper(cdc, service(escrow.Name), escrow.Others{Bank: k.bank, Supply: k.supply, Nodes: nodes{k}, Assets: admitted{k}, Clock: seeds{k}, Pay: pay{k}, Audit: audits{k}, Bond: bonds{k}},
		who, authority)
	k.bond = bond.NewKeeper(cdc, service(bond.Name), who, bond.Neighbours{Bank: k.bank, Supply: k.supply, Pay: paid{k}, Work: work{k}}, authority)
	k.audit = audit.NewKeeper(cdc, service(audit.Name), who, audit.Neighbours{Committee: lottery{k}, Registry: nodes{k}, Escrow: purse{k}, Bond: pledge{k}}, authority)
	k.archive = archive.NewKeeper(cdc, service(archive.Name), who, seats{k})
	k.reward = reward.NewKeeper(cdc, service(reward.Name), who, reward.Neighbours{Bank: k.bank, Supply: k.supply, Committee: k.committee, Registry: owners{k}, Exchange: sale{k},
		Bond: k.bond}, authority)
	k.storage = storage.NewKeeper(cdc, service(storage.Name), who, storage.Neighbours{Committee: ring{k.committee}, Registry: shelves{k}, Archive: segments{k}, Duty: k.reward, Deals: contracts{k}, Bond: shelves{k}},
		authority)
	k.deal = deal.NewKeeper(cdc, service(deal.Name), who, deal.Neighbours{Bank: k.bank, Days: k.committee, Pay: rent{k}}, authority)
	k.exchange = exchange.NewKeeper(cdc, service(exchange.Name), k.bank, k.supply, bought{k}, who, authority)
	k.bank.AppendSendRestriction(k.reward.BeforeSend)
	k.bank.AppendSendRestriction(k.governance.BeforeSend) // the last, so that it sees where the money really goes
	return nil
}

func (a *App) sdkModules() map[string]appmodule.AppModule {
	k, cdc := &a.keepers, a.codec.Codec
	return map[string]appmodule.AppModule{
		authtypes.ModuleName:      auth.NewAppModule(cdc, k.account, nil),
		vestingtypes.ModuleName:   vesting.NewAppModule(k.account, k.bank),
		banktypes.ModuleName:      bank.NewAppModule(cdc, k.bank, k.account),
		authz.ModuleName:          authzmodule.NewAppModule(cdc, k.authz, k.account, k.bank, a.codec.Registry),
		feegrant.ModuleName:       feegrantmodule.NewAppModule(cdc, k.account, k.bank, k.feegrant, a.codec.Registry),
		consensustypes.ModuleName: consensus.NewAppModule(cdc, k.consensus),
		upgradetypes.ModuleName:   upgrade.NewAppModule(k.upgrade, address.NewBech32Codec(Prefix)),
		epochstypes.ModuleName:    epochs.NewAppModule(&k.epochs),
		govtypes.ModuleName:       gov.NewAppModule(cdc, k.gov, k.account, k.bank),
	}
}

func (a *App) ourModules() map[string]appmodule.AppModule {
	k := &a.keepers
	return map[string]appmodule.AppModule{
		registry.Name:   registry.NewModule(k.registry),
		committee.Name:  committee.NewModule(k.committee, asks),
		supply.Name:     supply.NewModule(k.supply),
		governance.Name: governance.NewModule(k.governance, k.gov),
		escrow.Name:     escrow.NewModule(k.escrow),
		reward.Name:     reward.NewModule(k.reward),
		exchange.Name:   exchange.NewModule(k.exchange),
		bond.Name:       bond.NewModule(k.bond),
		audit.Name:      audit.NewModule(k.audit),
		archive.Name:    archive.NewModule(k.archive),
		storage.Name:    storage.NewModule(k.storage),
		deal.Name:       deal.NewModule(k.deal),
	}
}

// moduleNames are all modules, in the order in which their genesis is read: who is needed by others comes first.
func moduleNames() []string {
	return []string{
		consensustypes.ModuleName, authtypes.ModuleName, vestingtypes.ModuleName, banktypes.ModuleName, authz.ModuleName, feegrant.ModuleName,
		upgradetypes.ModuleName, epochstypes.ModuleName, supply.Name, registry.Name, committee.Name, govtypes.ModuleName, governance.Name,
		exchange.Name, reward.Name, bond.Name, escrow.Name, audit.Name, archive.Name, storage.Name, deal.Name,
	}
}

// order sets who comes when in a block.
func order(m *module.Manager) {
	m.SetOrderInitGenesis(moduleNames()...)
	m.SetOrderExportGenesis(moduleNames()...)
	m.SetOrderPreBlockers(
		upgradetypes.ModuleName, // before anything of a new version runs
		authtypes.ModuleName,    // forgets used-up marks of unordered transactions; there are none
	)
	m.SetOrderBeginBlockers(
		epochstypes.ModuleName, // ticks for modules to come; nothing hangs on it now
		authz.ModuleName,       // grants that ran out, before a message could use them
		governance.Name,        // which vote x/gov may end in this block
	)
	m.SetOrderEndBlockers(
		banktypes.ModuleName, // credits of virtual accounts; there are none
		feegrant.ModuleName,  // allowances that ran out
		govtypes.ModuleName,  // votes that ended: what they decide holds for all that follow
		governance.Name,      // ballots of the votes that x/gov ended just now
		committee.Name,       // the last, since it tells the engine who signs: nothing changes seats after it
	)
}

func bech32(who sdk.AccAddress) string {
	text, err := address.NewBech32Codec(Prefix).BytesToString(who)
	if err != nil {
		panic(err) // an address of a known length always has its text
	}
	return text
}
