//go:build !equivocate

package full

import cmttypes "github.com/cometbft/cometbft/types"

// wrap gives the engine the signer as it is. Tests of double signatures are built with another one.
func wrap(s *signer, _ *Node) cmttypes.PrivValidator { return s }
