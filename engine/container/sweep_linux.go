package container

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/moby/client"
)

// label is the name under which a container tells whose it is.
const label = "hpips.node"

// identity tells a process of this machine from all others: its start of the kernel, its namespace of processes, its number, and when it began (proc(5), stat). A number alone
// would come again.
func identity(pid int) (string, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("engine: %w", err)
	}
	space, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "ns/pid"))
	if err != nil {
		return "", fmt.Errorf("engine: %w", err)
	}
	fields, err := stat(pid)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %s %d %s", strings.TrimSpace(string(boot)), space, pid, fields[19]), nil
}

// stat gives what the kernel tells of a process behind its name: its state first (proc(5), stat, from field 3 on).
func stat(pid int) ([]string, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // names may hold brackets, too
	if len(fields) < 40 {
		return nil, errors.New("engine: the kernel tells of processes in another form than is known")
	}
	return fields, nil
}

// left says whether a container with that label is nobody's any more. Those of another namespace of processes, whose numbers mean nothing here, may be somebody's.
func left(owner, self string) bool {
	its, own := strings.Fields(owner), strings.Fields(self)
	if len(its) != 4 || len(own) != 4 || owner == self {
		return false
	}
	if its[0] != own[0] {
		return true // the machine was started anew
	}
	if its[1] != own[1] {
		return false
	}
	pid, err := strconv.Atoi(its[2])
	if err != nil {
		return false
	}
	fields, err := stat(pid)
	return errors.Is(err, os.ErrNotExist) || err == nil && (fields[0] == "Z" || fields[19] != its[3])
}

// sweep removes the containers of nodes that were killed.
func (e *Engine) sweep(ctx context.Context) error {
	list, err := e.api.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("label", label)})
	if err != nil {
		return fmt.Errorf("containers: %w", err)
	}
	for _, c := range list.Items {
		if !left(c.Labels[label], e.self) {
			continue
		}
		if err := e.remove(ctx, c.ID); err != nil {
			e.log.Warn("A container that a killed node has left cannot be removed", "container", c.ID, "err", err)
		}
	}
	return nil
}
