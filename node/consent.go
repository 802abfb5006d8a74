package node

import (
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/engine/container"
	"github.com/hpips/hpips/engine/process"
)

// Consent is whose programs of one kind this PC runs, native ones or images: between them and the PC stands the kernel alone.
type Consent string

// The consents.
const (
	Own       Consent = "own"       // of its owner, and, where no work is paid for, of the pool
	Everybody Consent = "everybody" // of strangers that pay, too
	Nobody    Consent = "nobody"
)

// UnmarshalTOML reads a consent; true and false are everybody and nobody.
func (c *Consent) UnmarshalTOML(v any) error {
	switch v {
	case string(Own), string(Everybody), string(Nobody):
		*c = Consent(v.(string))
	case true:
		*c = Everybody
	case false:
		*c = Nobody
	default:
		return fmt.Errorf("%#v is none of own, everybody, nobody", v)
	}
	return nil
}

// Consent is whose programs an engine runs; "" for one that has walls of its own, and runs everybody's.
func (c Config) Consent(engine string) Consent {
	said, ok := map[string]Consent{process.Name: c.Native, container.Name: c.Containers}[engine]
	if ok && said == "" {
		return Consent(orElse(string(c.Unsaid), string(Own)))
	}
	return said
}

// wants says whether the owner lets an engine work that not every PC has.
func (c Config) wants(engine string) bool { return c.Consent(engine) != Nobody }

// unwanted is told where the owner lets an engine work for nobody.
const unwanted = "its owner wants none of it"

// closed says why strangers get no work of an engine here: where work is paid for anybody can hand it in, so the owner has to have agreed.
func (m *member) closed(engine string) string {
	if m.lists.consent(engine) != Own || m.till == nil || m.till.account(m.owner)().Chain == "" {
		return ""
	}
	what := map[string]string{process.Name: "native programs", container.Name: "images"}[engine]
	return "its owner has not agreed to " + what + " of strangers"
}

// barred says why a lease that another node has of an engine is not kept any more: this node's owner has taken back what was agreed to.
func (m *member) barred(engine string, buyer peer.ID) string {
	if m.lists.consent(engine) == Nobody {
		return unwanted
	}
	if no := m.closed(engine); no != "" && !m.till.ours(buyer) {
		return no
	}
	return ""
}

// tellEngines says whose programs run here that have the processor itself, and why no stranger's or none at all.
func (m *member) tellEngines() []client.ShareEngine {
	lacking, all := m.lacking(), []client.ShareEngine{}
	for _, f := range m.foreign {
		all = append(all, client.ShareEngine{Name: f.word, Consent: string(m.lists.consent(f.name)), Closed: m.closed(f.name), Lacking: lacking[f.name]})
	}
	return all
}
