package chain

import (
	"context"

	"github.com/hpips/hpips/spec/sortition"
)

// duty is the development rule for what a node must have done before it gets a ticket: nothing. It is asked where later the levy of
// the node's work, its duty pay and its bond are asked. A chain with this rule says so in `hpips chain ticket`.
type duty struct{}

// asks says so to people.
const asks = "no work, no duty and no bond: the rule of a chain in development"

// Check is content with every node.
func (duty) Check(context.Context, sortition.Key) error { return nil }

// Forfeit takes nothing: there is no bond.
func (duty) Forfeit(context.Context, sortition.Key) error { return nil }
