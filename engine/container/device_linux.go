package container

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"

	"github.com/hpips/hpips/engine"
)

// give adds the task's devices to what the engine is asked for: by their CDI names where they have such, else their files, what their vendors' libraries read, and the groups
// that may use them. What lies under /sys is there already, and with it the links.
func give(h *container.HostConfig, devices []engine.Device, docker bool) error {
	seen := map[string]bool{}
	for _, d := range devices {
		if d.CDI != "" && docker {
			h.DeviceRequests = append(h.DeviceRequests, container.DeviceRequest{Driver: "cdi", DeviceIDs: []string{d.CDI}})
			continue
		} else if d.CDI != "" {
			h.Devices = append(h.Devices, container.DeviceMapping{PathOnHost: d.CDI})
			continue
		}
		for _, n := range d.Nodes {
			if seen[n.Guest] {
				continue
			}
			seen[n.Guest] = true
			h.Devices = append(h.Devices, container.DeviceMapping{PathOnHost: n.Host, PathInContainer: n.Guest, CgroupPermissions: "rw"})
			group, err := groupOf(n.Host)
			if err != nil {
				return fmt.Errorf("device %s: %s: %w", d.ID, n.Guest, err)
			}
			if group != "" && !slices.Contains(h.GroupAdd, group) {
				h.GroupAdd = append(h.GroupAdd, group)
			}
		}
		for _, f := range d.Files {
			if seen[f.Guest] || strings.HasPrefix(f.Guest, "/sys/") || strings.HasPrefix(f.Guest, "/proc/") {
				continue
			}
			seen[f.Guest] = true
			if _, err := os.Stat(f.Host); err == nil {
				h.Mounts = append(h.Mounts, bind(f.Host, f.Guest, true))
			}
		}
	}
	return nil
}

// groupOf is the number of the group that may use a device file which others may not; "" if everybody may.
func groupOf(node string) (string, error) {
	info, err := os.Stat(node)
	if err != nil {
		return "", err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || info.Mode()&0o006 == 0o006 || info.Mode()&0o060 != 0o060 {
		return "", nil
	}
	return strconv.Itoa(int(st.Gid)), nil
}

// bind shows a file or folder of the host.
func bind(host, guest string, readOnly bool) mount.Mount {
	return mount.Mount{Type: mount.TypeBind, Source: host, Target: guest, ReadOnly: readOnly, BindOptions: &mount.BindOptions{Propagation: mount.PropagationRPrivate}}
}
