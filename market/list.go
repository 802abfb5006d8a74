package market

import (
	"slices"
	"strings"
)

// networkEntry begins an entry of a list that names a network by its label.
const networkEntry = "network:"

// List is whom one side of the market deals with: nodes by their peer IDs, owners and payers by their accounts, and networks as network:LABEL. Who is denied is
// never dealt with; where anybody is allowed, only they are.
type List struct {
	Allow []string `json:"allow"`
	Deny  []string `json:"deny"`
}

// Party is the other side, as far as it is known: what is empty may come to be known, unless that is Whole.
type Party struct {
	Node    string // peer ID
	Account string // owner or payer
	Network string // label
	Whole   bool
}

// EntryKind is what an entry of a list names.
type EntryKind int

// The kinds of entries.
const (
	NodeEntry EntryKind = iota
	AccountEntry
	NetworkEntry
)

// KindOf tells what an entry names, by how it begins.
func KindOf(entry string) EntryKind {
	switch {
	case strings.HasPrefix(entry, networkEntry):
		return NetworkEntry
	case strings.HasPrefix(entry, "hpips1"), strings.HasPrefix(entry, "owner-"):
		return AccountEntry
	}
	return NodeEntry
}

// Verdicts of a list, as the side that keeps it is told and the other one.
const (
	onDenyList   = "on the deny list"
	offAllowList = "not on the allow list"
)

// Refuses says why the list keeps a party out, "" where it does not, or where that is not known yet.
func (l List) Refuses(p Party) string {
	named := func(entry string) bool {
		switch KindOf(entry) {
		case NetworkEntry:
			return p.Network != "" && entry == networkEntry+p.Network
		case AccountEntry:
			return entry == p.Account
		}
		return entry == p.Node
	}
	open := func(entry string) bool {
		kind := KindOf(entry)
		return kind == NetworkEntry && p.Network == "" || kind == AccountEntry && p.Account == ""
	}
	switch {
	case slices.ContainsFunc(l.Deny, named):
		return onDenyList
	case len(l.Allow) == 0 || slices.ContainsFunc(l.Allow, named):
		return ""
	case !p.Whole && slices.ContainsFunc(l.Allow, open):
		return ""
	}
	return offAllowList
}

// For is the list as it holds for a party: who is of one's own needs no permission.
func (l List) For(ours bool) List {
	if ours {
		return List{Deny: l.Deny}
	}
	return l
}
