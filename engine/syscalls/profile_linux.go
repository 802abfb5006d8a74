package syscalls

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/elastic/go-seccomp-bpf"
)

// profile is a seccomp policy as makers of containers read it (runtime-spec, config-linux.md; conditions are libseccomp's). What is refused without a number fails with EPERM.
type profile struct {
	DefaultAction string   `json:"defaultAction"`
	Architectures []string `json:"architectures"`
	Syscalls      []rule   `json:"syscalls"`
}

type rule struct {
	Names    []string    `json:"names"`
	Action   string      `json:"action"`
	ErrnoRet *uint       `json:"errnoRet,omitempty"`
	Args     []condition `json:"args,omitempty"`
}

type condition struct {
	Index    uint   `json:"index"`
	Value    uint64 `json:"value"`
	ValueTwo uint64 `json:"valueTwo"`
	Op       string `json:"op"`
}

// architectures are libseccomp's names of those that programs are built for here, by their Linux names.
var architectures = map[string]string{"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64", "arm": "SCMP_ARCH_ARM", "i386": "SCMP_ARCH_X86"}

// Profile writes a policy for makers of containers. They take several conditions on one argument for alternatives, so a policy with such is refused.
func (p Policy) Profile() ([]byte, error) {
	s, err := sorted(p.Deny, p.Guarded)
	if err != nil {
		return nil, err
	}
	name, known := architectures[s.here.Name]
	if !known {
		return nil, fmt.Errorf("seccomp: no name for the processor %s", s.here.Name)
	}
	code := uint(s.absent.Action &^ seccomp.ActionErrno)
	out := profile{DefaultAction: "SCMP_ACT_ERRNO", Architectures: []string{name},
		Syscalls: []rule{{Names: s.absent.Names, Action: "SCMP_ACT_ERRNO", ErrnoRet: &code}, {Names: s.allowed.Names, Action: "SCMP_ACT_ALLOW"}}}
	for _, name := range s.guarded {
		for _, call := range s.conditions[name] {
			args, err := conditions(call)
			if err != nil {
				return nil, err
			}
			out.Syscalls = append(out.Syscalls, rule{Names: []string{name}, Action: "SCMP_ACT_ALLOW", Args: args})
		}
	}
	return json.Marshal(out)
}

func conditions(call seccomp.NameWithConditions) (args []condition, err error) {
	seen := map[uint32]bool{}
	for _, c := range call.Conditions {
		if seen[c.Argument] {
			return nil, fmt.Errorf("seccomp: %s has two conditions on argument %d", call.Name, c.Argument)
		}
		seen[c.Argument] = true
		switch c.Operation {
		case seccomp.Equal:
			args = append(args, condition{Index: uint(c.Argument), Value: c.Value, Op: "SCMP_CMP_EQ"})
		case seccomp.LessOrEqual:
			args = append(args, condition{Index: uint(c.Argument), Value: c.Value, Op: "SCMP_CMP_LE"})
		case seccomp.BitsNotSet:
			args = append(args, condition{Index: uint(c.Argument), Value: c.Value, Op: "SCMP_CMP_MASKED_EQ"}) // and what is left is 0
		default:
			return nil, fmt.Errorf("seccomp: %s has a condition of kind %s", call.Name, strings.ToLower(string(c.Operation)))
		}
	}
	return args, nil
}
