package container

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"

	"github.com/moby/moby/client"
)

// Save writes an image that an engine on this PC has as an archive: the engine that New would find, or Podman without a service. The name is one that the engine knows.
func Save(ctx context.Context, name string, to io.Writer) error {
	hosts, _ := (&Engine{}).hosts()
	var failed []error
	for _, host := range hosts {
		err := saveFrom(ctx, host, name, to)
		if err == nil {
			return nil
		}
		failed = append(failed, fmt.Errorf("%s: %s", strings.TrimPrefix(host, "unix://"), say(err)))
	}
	if _, err := exec.LookPath(Package); err == nil {
		cmd := exec.CommandContext(ctx, Package, "save", "--", name)
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = to, &said
		if err = cmd.Run(); err == nil {
			return nil
		}
		failed = append(failed, fmt.Errorf("%s: %s", Package, strings.TrimSpace(said.String())))
	}
	if len(failed) == 0 {
		return &Missing{What: "neither Podman nor Docker is here", Remedy: install}
	}
	return errors.Join(failed...)
}

func saveFrom(ctx context.Context, host, name string, to io.Writer) error {
	api, err := client.New(client.WithHost(host))
	if err != nil {
		return err
	}
	defer api.Close()
	archive, err := api.ImageSave(ctx, []string{name})
	if err != nil {
		return err
	}
	defer archive.Close()
	_, err = io.Copy(to, archive)
	return err
}
