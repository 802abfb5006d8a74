package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/container"
	"github.com/hpips/hpips/engine/image"
	"github.com/hpips/hpips/spec/job"
)

func (s *shell) imageCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "image",
		Short:   "Container images in the store, without a registry",
		Args:    noArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
		Example: "  podman save alpine -o alpine.tar && hpips image push alpine.tar",
	}
	c.AddCommand(s.imagePushCommand(), s.imageShowCommand())
	return c
}

// pushed is an image in the store.
type pushed struct {
	client.Entry
	Platforms  []string `json:"platforms"`
	Entrypoint []string `json:"entrypoint,omitempty"`
	Command    []string `json:"command,omitempty"`
	Layers     int      `json:"layers"`
}

func (s *shell) imagePushCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "push ARCHIVE|NAME",
		Short: "Bring a container image into the store and print its content address",
		Long: `Bring a container image into the store and print its content address, by which any node runs it: no registry is asked.
ARCHIVE is what an engine saved (docker save, podman save, an OCI archive, plain or by gzip), or a folder with an OCI image layout; NAME is that of an image which Podman or Docker on this PC has.
Each blob is checked against its digest.
The same image has the same address, and images with layers in common share them in the store.`,
		Args: exactly(1, "one archive, layout or name of an image"),
		Example: `  hpips image push alpine.tar
  hpips image push alpine:3.20
  IMAGE=$(hpips image push -q alpine.tar) && hpips run --image $IMAGE -- cat /etc/os-release`,
		RunE: func(c *cobra.Command, args []string) error {
			api, err := s.open()
			if err != nil {
				return err
			}
			defer api.Close()
			e, about, err := s.pushImage(c.Context(), api, args[0])
			if err != nil {
				return err
			}
			p := pushed{Entry: e, Platforms: about.Platforms, Entrypoint: about.Entrypoint, Command: about.Command, Layers: about.Layers}
			return s.show(p, e.CID, func(w io.Writer) {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", e.CID, bytesText(e.Size), strings.Join(about.Platforms, ","), args[0])
			})
		},
	}
}

func (s *shell) imageShowCommand() *cobra.Command {
	timeout := time.Minute
	c := &cobra.Command{
		Use:     "show ARCHIVE|CID",
		Short:   "What an image is built for and what it runs",
		Args:    exactly(1, "one archive, layout or content address"),
		Example: "  hpips image show alpine.tar\n  hpips image show bafybei…",
		RunE: func(c *cobra.Command, args []string) error {
			about, err := s.aboutImage(c.Context(), args[0], timeout)
			if err != nil {
				return err
			}
			return s.show(about, strings.Join(about.Platforms, "\n"), func(w io.Writer) {
				fmt.Fprintf(w, "platforms\t%s\nentrypoint\t%s\ncommand\t%s\nlayers\t%d\nsize\t%s\n", strings.Join(about.Platforms, ", "),
					typed(about.Entrypoint), typed(about.Command), about.Layers, bytesText(about.Size))
			})
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", timeout, "give up after so long without progress")
	return c
}

// typed shows a command as it would be typed, where that is possible without doubt.
func typed(args []string) string {
	if len(args) == 0 {
		return "-"
	}
	shown := make([]string, len(args))
	for i, a := range args {
		if shown[i] = a; a == "" || strings.ContainsAny(a, " \t\n\"'\\$`") {
			shown[i] = fmt.Sprintf("%q", a)
		}
	}
	return strings.Join(shown, " ")
}

// aboutImage reads an image of this PC or of the store.
func (s *shell) aboutImage(ctx context.Context, ref string, wait time.Duration) (about image.Summary, err error) {
	dir, err := os.MkdirTemp("", "hpips-image-")
	if err != nil {
		return about, fmt.Errorf("image: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	to := filepath.Join(dir, "image")
	if _, err := os.Stat(ref); err == nil {
		if about, err = image.Import(ctx, ref, to); err != nil {
			return about, wrongImage(ref, err)
		}
		return about, nil
	} else if !isAddress(ref) && !looksLikeCID(ref) {
		return about, cannotRead(ref, err)
	}
	api, err := s.open()
	if err != nil {
		return about, err
	}
	defer api.Close()
	if _, err := s.get(ctx, api, ref, to, false, wait); err != nil {
		return about, err
	}
	if about, err = image.Read(ctx, to); err != nil {
		return about, wrongImage(ref, err)
	}
	return about, nil
}

// putImage brings an image of this PC into the store.
func (s *shell) putImage(ctx context.Context, api *client.Client, name string) (client.Entry, error) {
	e, _, err := s.pushImage(ctx, api, name)
	return e, err
}

// pushImage brings an image of this PC into the store, as a layout.
func (s *shell) pushImage(ctx context.Context, api *client.Client, name string) (e client.Entry, about image.Summary, err error) {
	dir, err := os.MkdirTemp("", "hpips-image-")
	if err != nil {
		return e, about, fmt.Errorf("image: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	to, from := filepath.Join(dir, "image"), name
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		from = filepath.Join(dir, "archive")
		if err := s.savedImage(ctx, name, from); err != nil {
			return e, about, err
		}
	}
	if about, err = image.Import(ctx, from, to); err != nil {
		return e, about, wrongImage(name, err)
	}
	e, err = s.put(ctx, api, to)
	return e, about, err
}

// savedImage has an engine on this PC write an image that it has into a file.
func (s *shell) savedImage(ctx context.Context, name, to string) error {
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("image: %w", err)
	}
	if err = errors.Join(container.Save(ctx, name, f), f.Close()); err == nil {
		return nil
	}
	hint := "save it into a file and name that: podman save NAME -o image.tar, or docker save NAME -o image.tar"
	var missing *container.Missing
	if errors.As(err, &missing) {
		err = missing
	}
	return &job.Failure{Code: job.CodeNotFound, Message: fmt.Sprintf("%s is no file here, and no image of an engine on this PC: %s", name, strings.ReplaceAll(err.Error(), "\n", "; ")), Hint: hint}
}

// wrongImage tells of what cannot be taken as an image.
func wrongImage(name string, err error) error {
	if ctxErr := context.Canceled; errors.Is(err, ctxErr) {
		return err
	}
	if errors.Is(err, syscall.ENOSPC) {
		return &job.Failure{Code: job.CodeDisk, Message: err.Error(), Hint: "free some space at " + os.TempDir() + ", or name another folder with TMPDIR: an image needs its size there"}
	}
	var bad *engine.ProgramError
	if errors.As(err, &bad) {
		return &job.Failure{Code: job.CodeProgram, Message: fmt.Sprintf("%s: %s", filepath.Base(name), bad.Message), Hint: bad.Hint}
	}
	hint := "give what docker save or podman save wrote, an OCI archive, or a folder with an OCI image layout"
	if errors.Is(err, image.ErrSeveral) {
		hint = "save one image alone: podman save NAME -o image.tar, or docker save NAME -o image.tar"
	}
	return &job.Failure{Code: job.CodeProgram, Message: strings.TrimPrefix(err.Error(), "image "), Hint: hint}
}

// checkImage refuses what cannot be an image before anything is sent.
func checkImage(name, path string) error {
	if image.Likely(path) {
		return nil
	}
	return wrongImage(name, fmt.Errorf("image %s: %w", filepath.Base(name), image.ErrNone))
}

// recognise turns a content address that was typed as a program, and leads to an image, into one.
func (s *shell) recognise(ctx context.Context, api *client.Client, spec *job.Spec) error {
	runs := []*job.Run{&spec.Run}
	if spec.Reduce != nil {
		runs = append(runs, &spec.Reduce.Run)
	}
	for _, r := range runs {
		if r.Engine() != job.EngineWASM || !isAddress(r.WASM) && !looksLikeCID(r.WASM) {
			continue
		}
		l, err := api.List(ctx, r.WASM, time.Minute)
		if err != nil {
			return err
		}
		for _, e := range l.Entries {
			if e.Name == image.Marker {
				r.Image, r.WASM = r.WASM, ""
			}
		}
	}
	return nil
}
