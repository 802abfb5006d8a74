package full

import (
	"os"
	"strings"
)

// computer names this computer, as its system does; empty when that cannot be told.
func computer() string {
	for _, file := range []string{"/etc/machine-id", "/var/lib/dbus/machine-id"} {
		if text, err := os.ReadFile(file); err == nil {
			return strings.TrimSpace(string(text))
		}
	}
	return ""
}
