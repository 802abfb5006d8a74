package container

import "os/exec"

// Installed says at once what is missing where there is no engine and none can be started, and is nil where New is worth its seconds.
func Installed(cfg Config) *Missing {
	hosts, _ := (&Engine{cfg: cfg}).hosts()
	if len(hosts) > 0 || cfg.Podman != "" {
		return nil
	}
	if _, err := exec.LookPath(Package); err != nil {
		return &Missing{What: "neither Podman nor Docker runs here, and Podman is not installed: images cannot be held", Remedy: install}
	}
	return nil
}
