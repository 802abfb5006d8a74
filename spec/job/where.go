package job

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Facts are what is known of a node that offers to work, by the names of conditions. What is not there is not known. For devices there is one value each.
type Facts map[string][]string

// The bounds of conditions.
const (
	maxConditions = 32
	maxCondition  = 256 // bytes
	maxValues     = 64
)

// measure is how values of a name are compared.
type measure int

const (
	byWord   measure = iota // letters of any case
	byModel                 // words of a device's name
	bySize                  // bytes
	byNumber                // decimal
)

// conditions are the names that a condition may begin with.
var conditions = map[string]measure{
	"os": byWord, "arch": byWord, "class": byWord, "region": byWord, "network": byWord, "owner": byWord, "node": byWord, "reputation": byNumber, "slots": byNumber, "speed": byNumber,
	"gpu.vendor": byWord, "gpu.model": byModel, "gpu.memory": bySize,
}

// condition is one of Spec.Where: a name, how it is compared, and with what.
type condition struct {
	name, op string // op: == != < <= > >= in, not in
	values   []string
}

var (
	compared = regexp.MustCompile(`^([a-z.]+)\s*(==|!=|<=|>=|<|>)\s*([^\s=<>!()][^=<>!()]*)$`)
	listed   = regexp.MustCompile(`^([a-z.]+)\s+(in|not\s+in)\s*\(([^()]+)\)$`)
)

// conditionForm tells people how one is written.
const conditionForm = `such as "region in (eu,us)", "os==linux" or "gpu.memory>=12GiB"`

// parseCondition reads one.
func parseCondition(text string) (c condition, err error) {
	t := strings.TrimSpace(text)
	if len(t) > maxCondition {
		return c, fmt.Errorf("it has more than %d bytes", maxCondition)
	}
	if m := listed.FindStringSubmatch(t); m != nil {
		c = condition{name: m[1], op: strings.Join(strings.Fields(m[2]), " ")}
		for _, v := range strings.Split(m[3], ",") {
			c.values = append(c.values, strings.TrimSpace(v))
		}
	} else if m := compared.FindStringSubmatch(t); m != nil {
		c = condition{m[1], m[2], []string{strings.TrimSpace(m[3])}}
	} else {
		return c, fmt.Errorf("%q is no condition", t)
	}
	m, known := conditions[c.name]
	switch {
	case !known:
		return c, fmt.Errorf("%q is not known of nodes", c.name)
	case len(c.values) > maxValues || slices.Contains(c.values, ""):
		return c, fmt.Errorf("%q has an empty value, or more than %d", t, maxValues)
	case m < bySize && strings.ContainsAny(c.op, "<>"):
		return c, fmt.Errorf("%s has no order: compare it by ==, !=, in or not in", c.name)
	}
	for _, v := range c.values {
		if _, err := m.number(v); m >= bySize && err != nil {
			return c, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return c, nil
}

// number is the value of what has an order.
func (m measure) number(v string) (float64, error) {
	if m == bySize {
		size, err := ParseSize(v)
		return float64(size), err
	}
	n, err := strconv.ParseFloat(v, 64)
	if err != nil || n != n {
		return 0, fmt.Errorf("%q is no number", v)
	}
	return n, nil
}

// same reports whether a fact is what a condition names.
func (m measure) same(fact, value string) bool {
	switch m {
	case byWord:
		return strings.EqualFold(fact, value)
	case byModel:
		return named(value, fact)
	}
	a, err1 := m.number(fact)
	b, err2 := m.number(value)
	return err1 == nil && err2 == nil && a == b
}

// holds reports whether a fact satisfies the condition.
func (c condition) holds(fact string) bool {
	m := conditions[c.name]
	among := slices.ContainsFunc(c.values, func(v string) bool { return m.same(fact, v) })
	switch c.op {
	case "==", "in":
		return among
	case "!=", "not in":
		return !among
	}
	have, err1 := m.number(fact)
	want, err2 := m.number(c.values[0])
	if err1 != nil || err2 != nil {
		return false
	}
	switch c.op {
	case "<":
		return have < want
	case "<=":
		return have <= want
	case ">":
		return have > want
	}
	return have >= want || c.name == "gpu.memory" && enough(Size(have), Size(want))
}

// Misses says which condition a node does not satisfy, as kind and text of a refusal; "" where it satisfies all. What is not known satisfies none.
func Misses(where []string, f Facts) (kind, text string) {
	for _, one := range where {
		c, err := parseCondition(one)
		if err != nil {
			return "where", err.Error() // Check has refused it
		}
		facts := f[c.name]
		if len(facts) == 0 {
			return c.kind(), fmt.Sprintf("is not told, wants %s", c.wish())
		}
		for _, fact := range facts {
			if !c.holds(fact) {
				return c.kind(), fmt.Sprintf("is %s, wants %s", orElse(fact, "not told"), c.wish())
			}
		}
	}
	return "", ""
}

// kind is what refusals for it are counted under. What an owner's rules refuse is counted under owner.
func (c condition) kind() string {
	if c.name == "owner" {
		return "whose node"
	}
	return strings.ReplaceAll(c.name, ".", " ")
}

// wish is what follows the name.
func (c condition) wish() string {
	switch c.op {
	case "==":
		return c.values[0]
	case "in", "not in":
		return c.op + " (" + strings.Join(c.values, ", ") + ")"
	}
	return c.op + " " + c.values[0]
}

// Conditions are those of Where that hold for nodes which run programs of an engine: those on devices only where there may be any.
func (s Spec) Conditions(engine string) (where []string) {
	for _, text := range s.Where {
		if c, err := parseCondition(text); err != nil || !strings.HasPrefix(c.name, "gpu.") || TakesGPU(engine) {
			where = append(where, text)
		}
	}
	return where
}

func checkWhere(s Spec) *Error {
	if len(s.Where) > maxConditions {
		return &Error{Field: "where", Text: fmt.Sprintf("has %d conditions", len(s.Where)), Hint: fmt.Sprintf("%d at most", maxConditions)}
	}
	for i, text := range s.Where {
		field := fmt.Sprintf("where[%d]", i)
		c, err := parseCondition(text)
		if err != nil {
			return &Error{Field: field, Text: err.Error(), Hint: "write it " + conditionForm + "; names: " + strings.Join(slices.Sorted(maps.Keys(conditions)), ", ")}
		}
		if strings.HasPrefix(c.name, "gpu.") && s.Resources.GPU.Count == 0 {
			return &Error{Field: field, Text: c.name + " is asked for, and the job uses no GPU", Hint: "say resources.gpu.count (--gpus 1)"}
		}
	}
	return nil
}

// Preferences are what offers can be ordered by: price, the lowest first; reputation, the best first; load, the least first; slots, speed and gpu.memory, the most first.
var Preferences = []string{"price", "reputation", "load", "slots", "speed", "gpu.memory"}

func checkPrefer(s Spec) *Error {
	for i, word := range s.Prefer {
		field := fmt.Sprintf("prefer[%d]", i)
		switch {
		case word == "data-locality":
			return &Error{Field: field, Text: "where inputs lie is not looked at in this version", Hint: "leave it out; the words are " + strings.Join(Preferences, ", ")}
		case !slices.Contains(Preferences, word):
			return &Error{Field: field, Text: fmt.Sprintf("%.64q is no preference", word), Hint: "the words are " + strings.Join(Preferences, ", ")}
		case slices.Index(s.Prefer, word) != i:
			return &Error{Field: field, Text: fmt.Sprintf("%q stands there twice", word), Hint: "keep the first"}
		}
	}
	return nil
}
