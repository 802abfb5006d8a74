//go:build !amd64

package main

// What processors other than amd64 do not have cannot be tried there.
func init() {
	add(map[string]func(){"another word size": func() {}, "ports of devices": func() {}, "segments": func() {}})
}
