package main

import (
	"fmt"
	"net"
	"os/exec"
	"strconv"

	"golang.org/x/sys/unix"
)

// family makes a socket that must be refused.
func family(domain, kind, protocol int) func() {
	return func() {
		_, err := unix.Socket(domain, kind, protocol)
		got("a socket", err)
	}
}

// reach calls addresses that must not answer. A datagram must not even leave.
func reach(addresses ...string) {
	for _, a := range addresses {
		got("TCP to "+a, dial("tcp", a))
		got("UDP to "+a, dial("udp", a))
	}
}

// netlink sends a request to the network's configuration, which must be refused.
func netlink(kind byte) func() {
	return func() {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)
		if err != nil {
			return
		}
		request := make([]byte, 32)
		request[0], request[4], request[6], request[7] = 32, kind, 5, 6 // length; kind; with an answer, create
		must(unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
		answer := make([]byte, 4096)
		n, _, err := unix.Recvfrom(fd, answer, 0)
		must(err)
		if n >= 20 && answer[16]|answer[17]|answer[18]|answer[19] == 0 {
			fmt.Println("escaped: it was done")
		}
	}
}

func init() {
	add(map[string]func(){
		"raw": family(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP), "raw, version 6": family(unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6), "packets": family(unix.AF_PACKET, unix.SOCK_RAW, 0),
		"vsock": family(unix.AF_VSOCK, unix.SOCK_STREAM, 0), "the kernel's ciphers": family(unix.AF_ALG, unix.SOCK_SEQPACKET, 0), "audit": family(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT),
		"netfilter": family(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER), "events of devices": family(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_KOBJECT_UEVENT), "generic netlink": family(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_GENERIC),
		"xdp": family(unix.AF_XDP, unix.SOCK_RAW, 0), "bluetooth": family(unix.AF_BLUETOOTH, unix.SOCK_RAW, 0), "can": family(unix.AF_CAN, unix.SOCK_RAW, 1), "rds": family(unix.AF_RDS, unix.SOCK_SEQPACKET, 0),
		"tipc": family(unix.AF_TIPC, unix.SOCK_STREAM, 0), "sctp": family(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP), "dccp": family(unix.AF_INET, 6, unix.IPPROTO_DCCP), "mptcp": family(unix.AF_INET, unix.SOCK_STREAM, 262),

		"loopback by TCP": func() { got("TCP", dial("tcp", "127.0.0.1:"+port)) },
		"loopback by TCP 6": func() {
			got("TCP 6", dial("tcp", "[::1]:"+port))
			got("mapped", dial("tcp", "[::ffff:127.0.0.1]:"+port))
		},
		"loopback by UDP": func() { // it leaves, for the sandbox has a loopback of its own, and must not arrive
			_ = dial("udp", "127.0.0.1:"+port)
		},
		"the PC's neighbours": func() { reach("10.0.0.1:80", "192.168.0.1:80", "172.17.0.1:80", "[fe80::1%lo]:80") },
		"the cloud's secrets": func() { reach("169.254.169.254:80", "[fd00:ec2::254]:80") },
		"the internet":        func() { reach("1.1.1.1:53", "[2606:4700::1111]:53", "203.0.113.1:443") },
		"many at once":        func() { reach("224.0.0.251:5353", "255.255.255.255:9", "[ff02::fb]:5353") },
		"names": func() {
			_, err := net.LookupHost("example.org")
			got("a name", err)
		},
		"devices": func() {
			if list, err := net.Interfaces(); err == nil && (len(list) != 1 || list[0].Name != "lo") {
				fmt.Println("escaped: devices", list)
			}
		},
		"a new device":  netlink(unix.RTM_NEWLINK),
		"a new address": netlink(unix.RTM_NEWADDR),
		"an abstract socket": func() {
			got("an abstract socket", dial("unix", "@"+socket))
			got("without a connection", dial("unixgram", "@"+socket))
		},
		"a socket in the house": func() { got("a socket", dial("unix", house+"/socket")) },
		"the system bus": func() {
			got("the bus", dial("unix", "/run/dbus/system_bus_socket"))
			got("systemd", dial("unix", "/run/systemd/private"))
		},
		"the container engine": func() {
			for _, p := range []string{"/run/docker.sock", "/var/run/docker.sock", "/run/podman/podman.sock", "/run/containerd/containerd.sock"} {
				got(p, dial("unix", p))
			}
			if _, err := strconv.Atoi(hostPID); err == nil {
				got("by a program", exec.Command("/usr/bin/podman", "--url", "unix:///run/podman/podman.sock", "ps").Run())
			}
		},
	})
}
