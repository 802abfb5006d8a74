// Package container keeps the engine for OCI images: each task is one container, made through the Docker-compatible API of an engine on this PC, Podman's or Docker's.
// It promises that a container reaches no network, sees of the host what its task was given and nothing else, changes nothing but its task's folders, keeps to its limits, and that
// no container, process or file of a task is left when it has ended or is cancelled; images are checked against their digests, loaded once, and removed when nobody needs them.
// It leaves who may run images here to the node, where layouts come from to the store, and making and freezing containers to the engine that it finds.
package container

import (
	"time"

	"github.com/hpips/hpips/engine/sandbox"
	"github.com/hpips/hpips/spec/job"
)

// Name is the engine's kind in a job's words and in orders.
const Name = job.EngineContainer

// Package is what has to be installed where no engine is, by the name that Linux systems give it.
const Package = "podman"

// Config of an engine. The zero value is a good one.
type Config struct {
	// Host is the socket of the engine, "unix:///PATH"; "" takes that of $DOCKER_HOST, the user's Podman, the system's Podman or Docker, the first that works, and if there is
	// none, starts Podman's own service.
	Host string
	// Podman is the path of podman, for its service; "" looks where programs are.
	Podman string
	// Runtime makes the containers, by the name or path that the engine knows it by, such as "runsc"; "" is the engine's default, or for a service of this package's own
	// "runc" if that default does not work.
	Runtime string
	// Dir is a private folder for the service's socket and for what the engine has to read; "" makes one.
	Dir string
	// Nice is added to the programs' priority number, 0 to 19.
	Nice int
	// CPUs are the cores that one task may use; 0 is 1.
	CPUs int
	// Processes are those, threads counted, that one task may have at once; 0 is 512.
	Processes int
	// MaxImage is in bytes: what the layers of one image may come to when they are unpacked; 0 is 20 GiB.
	MaxImage int64
	// Images is in bytes: what images that nobody uses may take in all; 0 is 40 GiB.
	Images int64
	// AllImages is in bytes: what images may take in all, those in use counted; 0 is 80 GiB. One that has no room beside those in use is not taken.
	AllImages int64
	// Keep is for how long an image that nobody uses is kept; 0 is 12 hours.
	Keep time.Duration
}

func (c Config) orDefault() Config {
	if c.CPUs <= 0 {
		c.CPUs = 1
	}
	if c.Processes <= 0 {
		c.Processes = 512
	}
	if c.MaxImage <= 0 {
		c.MaxImage = 20 << 30
	}
	if c.Images <= 0 {
		c.Images = 40 << 30
	}
	if c.AllImages <= 0 {
		c.AllImages = 80 << 30
	}
	if c.Keep <= 0 {
		c.Keep = 12 * time.Hour
	}
	return c
}

// Missing is the error of New on a machine that cannot hold containers.
type Missing = sandbox.Missing

// Check is one wall or limit of a container as it really is on this machine.
type Check = sandbox.Check
