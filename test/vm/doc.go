// Package vm runs tests that need another system than this PC's in a virtual machine: a Debian with its own kernel, systemd and control groups of version 2 alone.
// It promises that the tests are the rooms' own, run as whom PCs run nodes as, and that nothing of this PC is seen by the machine but what it is given.
// It leaves what is tested to those rooms, and the making of the Debian to etc/vm.sh.
package vm
