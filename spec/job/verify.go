package job

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Mode is how results are checked.
type Mode string

// The modes of hpips/v1. Filled replaces auto by the one that it stands for.
const (
	Auto   Mode = "auto"
	Jury   Mode = "jury"
	Quorum Mode = "quorum"
	Check  Mode = "check"
	None   Mode = "none"
)

// Verify is the policy for checking results.
type Verify struct {
	Mode     Mode                 `json:"mode,omitempty" cbor:"mode,omitempty"`
	Copies   int                  `json:"copies,omitempty" cbor:"copies,omitempty"` // equal results that are asked for
	Rate     float64              `json:"rate,omitempty" cbor:"rate,omitempty"`     // share of tasks that is checked by one more copy, 0 … 1
	Limit    int                  `json:"limit,omitempty" cbor:"limit,omitempty"`   // executions of one task at most when results differ, or are wrong
	Check    *Run                 `json:"check,omitempty" cbor:"check,omitempty"`   // program that judges each result
	Compare  Comparison           `json:"compare,omitempty" cbor:"compare,omitempty"`
	Absolute Decimal              `json:"absolute,omitempty" cbor:"absolute,omitempty"` // of numeric: the tolerance of all fields without one of their own
	Relative Decimal              `json:"relative,omitempty" cbor:"relative,omitempty"`
	ULP      int64                `json:"ulp,omitempty" cbor:"ulp,omitempty"`
	Fields   map[string]Tolerance `json:"fields,omitempty" cbor:"fields,omitempty"`     // column, from 1, or JSON pointer (RFC 6901) → its tolerance
	Distance Decimal              `json:"distance,omitempty" cbor:"distance,omitempty"` // of image: mean difference of a channel, 0 … 255
}

// Comparison is when two results of a quorum are the same.
type Comparison string

// The comparisons of hpips/v1.
const (
	Bytes   Comparison = "bytes"
	JSON    Comparison = "json"
	Numeric Comparison = "numeric"
	Image   Comparison = "image"
)

// Tolerance is how far apart two numbers may be: one of the three that holds is enough.
type Tolerance struct {
	Absolute Decimal `json:"absolute,omitempty" cbor:"absolute,omitempty"` // |a − b|
	Relative Decimal `json:"relative,omitempty" cbor:"relative,omitempty"` // |a − b| as a share of the larger one
	ULP      int64   `json:"ulp,omitempty" cbor:"ulp,omitempty"`           // steps of a 64-bit float between them
}

// The limits of what a policy may say.
const (
	maxCopies = 15
	maxLimit  = 31
	maxULP    = 1 << 53
	maxFields = 256
	minQuorum = 2
)

// filled writes out the mode and the defaults that it has in a specification.
func (v Verify) filled(s Spec) Verify {
	if v.Mode == "" {
		v.Mode = None
		if s.Kind == Map || v.Copies > 1 || v.Rate > 0 || v.Check != nil || v.compares() {
			v.Mode = Auto
		}
	}
	if v.Mode == Auto {
		v.Mode = v.pick(s.Run)
	}
	switch v.Mode {
	case Jury:
		if v.Copies == 0 {
			v.Copies, v.Rate = 1, orElse(v.Rate, DefaultRate)
		}
	case Quorum:
		v.Copies, v.Compare = orElse(v.Copies, minQuorum), orElse(v.Compare, Bytes)
	case Check:
	default:
		return v
	}
	v.Limit = orElse(v.Limit, max(DefaultLimit, v.Copies))
	return v
}

// pick is what auto stands for.
func (v Verify) pick(r Run) Mode {
	switch {
	case v.Check != nil:
		return Check
	case v.Copies > 1 || v.compares():
		return Quorum
	case r.Engine() != EngineWASM: // its last bits differ between kinds of machines: it is compared within one
		return Quorum
	}
	return Jury
}

// compares reports whether the policy says anything about comparing results.
func (v Verify) compares() bool {
	return v.Compare != "" || v.tolerant() || v.Distance != ""
}

// tolerant reports whether it says how far numbers may be apart.
func (v Verify) tolerant() bool {
	return v.Absolute != "" || v.Relative != "" || v.ULP != 0 || len(v.Fields) > 0
}

func checkVerify(s Spec) *Error {
	v := s.Verify
	if !slices.Contains([]Mode{Auto, Jury, Quorum, Check, None}, v.Mode) {
		return &Error{Field: "verify.mode", Text: fmt.Sprintf("%q is not known", v.Mode), Hint: "auto, jury, quorum, check or none"}
	}
	if v.Copies < 0 || v.Copies > maxCopies {
		return &Error{Field: "verify.copies", Text: fmt.Sprintf("%d is not possible", v.Copies), Hint: fmt.Sprintf("%d … %d", minQuorum, maxCopies)}
	}
	if !(v.Rate >= 0 && v.Rate <= 1) {
		return &Error{Field: "verify.rate", Text: fmt.Sprintf("%v is not a share", v.Rate), Hint: "0 … 1, such as 0.05"}
	}
	if v.Limit < 0 || v.Limit > maxLimit {
		return &Error{Field: "verify.limit", Text: fmt.Sprintf("%d is not possible", v.Limit), Hint: fmt.Sprintf("1 … %d", maxLimit)}
	}
	for _, check := range []func() *Error{func() *Error { return v.checkMode(s) }, v.checkChecker, v.checkCompare} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// checkMode refuses numbers that the mode has no use for.
func (v Verify) checkMode(s Spec) *Error {
	switch {
	case v.Mode == Jury && s.native():
		return &Error{Field: "verify.mode", Text: "a jury runs WASI modules again, to the byte, and no native program or image", Hint: "write mode: quorum (--verify quorum), or leave it out"}
	case v.Copies > 1 && v.Mode != Quorum:
		return &Error{Field: "verify.copies", Text: fmt.Sprintf("%s asks for no copies", v.Mode), Hint: "write mode: quorum (--verify quorum), or leave copies out"}
	case v.Copies < minQuorum && v.Mode == Quorum:
		return &Error{Field: "verify.copies", Text: fmt.Sprintf("%d is no quorum", v.Copies), Hint: fmt.Sprintf("%d … %d; mode: none (--verify none) takes one result unchecked", minQuorum, maxCopies)}
	case v.Rate > 0 && v.Mode != Jury && v.Mode != Auto:
		return &Error{Field: "verify.rate", Text: fmt.Sprintf("%s checks no share of the tasks", v.Mode), Hint: "write mode: jury (--verify jury), or leave rate out"}
	case v.Limit > 0 && v.Mode == None:
		return &Error{Field: "verify.limit", Text: "none runs each task once", Hint: "name a mode that checks, or leave limit out"}
	}
	return nil
}

func (v Verify) checkChecker() *Error {
	switch {
	case v.Check == nil && v.Mode == Check:
		return &Error{Field: "verify.check", Text: "is missing: mode check needs a program that judges", Hint: "name a WASI module as verify.check.wasm (--check CHECKER.wasm)"}
	case v.Check == nil:
		return nil
	case v.Mode != Check:
		return &Error{Field: "verify.check", Text: fmt.Sprintf("%s runs no checker", v.Mode), Hint: "write mode: check (--verify check), or leave the checker out"}
	}
	if e := v.Check.Engine(); e != EngineWASM {
		return &Error{Field: "verify.check." + v.Check.Field(), Text: "a checker runs on this PC, where only WASI modules are held tightly enough", Hint: "give a WASI module as verify.check.wasm (--check CHECKER.wasm)"}
	}
	return v.Check.check("verify.check")
}

func (v Verify) checkCompare() *Error {
	compare := orElse(v.Compare, Bytes)
	switch {
	case !slices.Contains([]Comparison{Bytes, JSON, Numeric, Image}, compare):
		return &Error{Field: "verify.compare", Text: fmt.Sprintf("%q is not known", v.Compare), Hint: "bytes, json, numeric or image"}
	case v.compares() && v.Mode != Quorum:
		return &Error{Field: "verify.compare", Text: fmt.Sprintf("%s compares no results by it", v.Mode), Hint: "write mode: quorum (--verify quorum), or leave it out"}
	case v.tolerant() && compare != Numeric:
		return &Error{Field: "verify." + v.tolerance(), Text: fmt.Sprintf("%s knows no tolerance", compare), Hint: "write compare: numeric, or leave it out"}
	case v.Distance != "" && compare != Image:
		return &Error{Field: "verify.distance", Text: fmt.Sprintf("%s knows no distance", compare), Hint: "write compare: image, or leave it out"}
	}
	if err := (Tolerance{v.Absolute, v.Relative, v.ULP}).check("verify"); err != nil {
		return err
	}
	if err := v.Distance.check("verify.distance"); err != nil {
		return err
	}
	return v.checkFields()
}

// tolerance names the first field that says how far numbers may be apart.
func (v Verify) tolerance() string {
	switch {
	case v.Absolute != "":
		return "absolute"
	case v.Relative != "":
		return "relative"
	case v.ULP != 0:
		return "ulp"
	}
	return "fields"
}

// column is a column's number; a JSON pointer begins with a slash instead.
var column = regexp.MustCompile(`^[1-9][0-9]{0,5}$`)

func (v Verify) checkFields() *Error {
	if len(v.Fields) > maxFields {
		return &Error{Field: "verify.fields", Text: fmt.Sprintf("%d fields are not possible", len(v.Fields)), Hint: fmt.Sprintf("%d at most", maxFields)}
	}
	pointers := 0
	for _, name := range slices.Sorted(maps.Keys(v.Fields)) {
		field := "verify.fields." + name
		if strings.HasPrefix(name, "/") {
			pointers++
		} else if !column.MatchString(name) {
			return &Error{Field: field, Text: fmt.Sprintf("%q is neither a column nor a JSON pointer", name), Hint: `"3" is the third column, "/energy/total" a place in a JSON document`}
		}
		if err := v.Fields[name].check(field); err != nil {
			return err
		}
	}
	if pointers > 0 && pointers < len(v.Fields) {
		return &Error{Field: "verify.fields", Text: "names columns and JSON pointers", Hint: "a result has either"}
	}
	return nil
}

func (t Tolerance) check(field string) *Error {
	if err := t.Absolute.check(field + ".absolute"); err != nil {
		return err
	}
	if err := t.Relative.check(field + ".relative"); err != nil {
		return err
	}
	if t.ULP < 0 || t.ULP > maxULP {
		return &Error{Field: field + ".ulp", Text: fmt.Sprintf("%d is not possible", t.ULP), Hint: "0 … " + strconv.Itoa(maxULP)}
	}
	return nil
}

// Decimal is a number from 0 up as it was written, such as 1e-9 or 0.5: this package only carries it.
type Decimal string

var decimal = regexp.MustCompile(`^[0-9]{1,40}(\.[0-9]{1,40})?([eE][-+]?[0-9]{1,2})?$`)

func (d Decimal) check(field string) *Error {
	if d != "" && !decimal.MatchString(string(d)) {
		return &Error{Field: field, Text: fmt.Sprintf("%q is not a number from 0 up", string(d)), Hint: "such as 1e-9 or 0.5"}
	}
	return nil
}
