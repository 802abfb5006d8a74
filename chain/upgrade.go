package chain

import (
	"context"
	"fmt"

	"github.com/cosmos/cosmos-sdk/types/module"
	upgradetypes "github.com/cosmos/cosmos-sdk/x/upgrade/types"
)

// Upgrade is what a program makes of the state when an upgrade of this name, on which a vote has decided, is due. The state remembers the name: every later program
// must know it too, or refuses to go on.
type Upgrade struct {
	Name string
	// Change comes after the modules' own migrations, in the block at whose height the upgrade is due. Nil: they are all there is.
	Change func(context.Context) error
}

// Upgrades are those that this program can do, the oldest first. There was none yet.
func Upgrades() []Upgrade { return nil }

// learn teaches the application its upgrades.
func (a *App) learn(all []Upgrade, c module.Configurator) {
	for _, u := range all {
		a.keepers.upgrade.SetUpgradeHandler(u.Name, func(ctx context.Context, _ upgradetypes.Plan, from module.VersionMap) (module.VersionMap, error) {
			to, err := a.modules.RunMigrations(ctx, c, from)
			if err == nil && u.Change != nil {
				err = u.Change(ctx)
			}
			if err != nil {
				return nil, fmt.Errorf("upgrade %s: %w", u.Name, err)
			}
			return to, nil
		})
	}
}
