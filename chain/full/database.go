package full

import (
	"sync/atomic"

	cmtdb "github.com/cometbft/cometbft-db"
)

// database is one of the engine's. A routine of the engine that speaks with a peer goes on for seconds after the engine was stopped, and
// ends the whole process when what it asks is closed: it is told that there is nothing, which it can live with.
type database struct {
	cmtdb.DB
	closed atomic.Bool
}

// Get gives a value, or nil.
func (d *database) Get(key []byte) ([]byte, error) {
	value, err := d.DB.Get(key)
	if err != nil && d.closed.Load() {
		return nil, nil
	}
	return value, err
}

// Close lets go of the files. It may be called again.
func (d *database) Close() error {
	if d.closed.Swap(true) {
		return nil
	}
	return d.DB.Close()
}
