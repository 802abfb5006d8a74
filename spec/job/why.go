package job

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Why explains where a job stands.
type Why struct {
	Job      string      `json:"job"`
	State    State       `json:"state"`
	Summary  string      `json:"summary"` // one sentence
	Asked    int         `json:"asked"`   // nodes looked at in the last round
	Accepted int         `json:"accepted"`
	Rejected []Rejection `json:"rejected"`
	Kinds    []Kinds     `json:"kinds"` // rejections by what they are about, the most first
	Events   []Event     `json:"events"`
	Estimate *Estimate   `json:"estimate,omitempty"` // of a specification that is not handed in
}

// Rejection counts the providers that did not take a job for one reason. A reason begins with what it is about and a colon, or is all of that.
type Rejection struct {
	Reason string `json:"reason"`
	Count  int    `json:"count"`
}

// Kinds counts rejections that are about one thing, whatever each says in particular.
type Kinds struct {
	Kind  string `json:"kind"`
	Count int    `json:"count"`
}

// maxKind bounds what a stranger's words may make a kind of, in bytes.
const maxKind = 32

// Kind is what a reason is about: "gpu memory: wants 12GiB, has 8GiB" is about "GPU memory".
func (r Rejection) Kind() string {
	kind, _, _ := strings.Cut(r.Reason, ":")
	kind = strings.TrimSpace(strings.ToValidUTF8(kind[:min(len(kind), maxKind)], ""))
	if rest, ok := strings.CutPrefix(kind, "gpu"); ok {
		return "GPU" + rest
	}
	return orElse(kind, "other")
}

// CountKinds counts rejections by what they are about, the most first.
func CountKinds(rejected []Rejection) []Kinds {
	kinds := []Kinds{}
	for _, r := range rejected {
		i := slices.IndexFunc(kinds, func(k Kinds) bool { return k.Kind == r.Kind() })
		if i < 0 {
			i, kinds = len(kinds), append(kinds, Kinds{Kind: r.Kind()})
		}
		kinds[i].Count += r.Count
	}
	slices.SortFunc(kinds, func(a, b Kinds) int { return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Kind, b.Kind)) })
	return kinds
}

// Refusals says of so many nodes how many refused, and why: "38 of 41 nodes refused: 22 price, 11 GPU memory, 5 region"; "" where none did.
func Refusals(asked int, rejected []Rejection) string {
	n := 0
	var texts []string
	for _, k := range CountKinds(rejected) {
		n += k.Count
		texts = append(texts, fmt.Sprintf("%d %s", k.Count, k.Kind))
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %s refused: %s", n, Several(max(asked, n), "node"), strings.Join(texts, ", "))
}
