//go:build unix

package full

import (
	"errors"
	"fmt"
	"os"
)

// syncFolder makes the names in a folder last through a loss of power.
func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}
