package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Way is one path to a target: its packets, their answers, and the reason why it was selected or not.
type Way struct {
	Path    string         `json:"path"`
	Addr    netip.AddrPort `json:"address,omitzero"`
	Outcome string         `json:"outcome"`
	// Tried is the time of the first packet sent on it, Answered of the first answer.
	Tried    *Seconds `json:"tried_seconds,omitempty"`
	Answered *Seconds `json:"answered_seconds,omitempty"`
	Text     string   `json:"text"`
	Error    string   `json:"error,omitempty"`

	path    hyperdht.Path
	outcome hyperdht.WayOutcome
}

// noteWayOf records an event about a path, unless it is one to a relay. It reports whether the event is about a path.
func (c *Connection) noteWayOf(t *TargetReport, start host.Instant, e hyperdht.AttemptEvent) bool {
	if e.Step != hyperdht.AttemptWay {
		return false
	}
	if e.Key == id.PublicKey(t.Key) {
		c.noteWay(start, e)
	}
	return true
}

// noteWay adds a path, or the later outcome of one. start is the begin of the attempt.
func (c *Connection) noteWay(start host.Instant, e hyperdht.AttemptEvent) {
	w := Way{
		Path: e.Path.String(), Addr: e.Addr, Outcome: e.Outcome.String(), Error: text(e.Err), path: e.Path, outcome: e.Outcome,
		Tried: since(start, e.Tried), Answered: since(start, e.Answered),
	}
	w.Text = c.sayWay(w)
	i := slices.IndexFunc(c.Ways, func(o Way) bool { return o.path == e.Path && (o.Addr == e.Addr || !o.Addr.IsValid()) })
	switch {
	case i >= 0:
		c.Ways[i] = w
	case len(c.Ways) < maxSteps:
		c.Ways = append(c.Ways, w)
	}
}

// since is the time from start to an event, nil if that did not happen.
func since(start, at host.Instant) *Seconds {
	if at == 0 {
		return nil
	}
	s := Seconds(at.Sub(start))
	return &s
}

var wayWords = map[hyperdht.Path]string{
	hyperdht.PathDirect:  "directly",
	hyperdht.PathLAN:     "within one network",
	hyperdht.PathPunched: "through punched holes",
	hyperdht.PathRelayed: "over a blind relay",
}

// sayWay describes a path.
func (c *Connection) sayWay(w Way) string {
	s := wayWords[w.path]
	if w.Addr.IsValid() {
		s = pathWords[w.path] + w.Addr.String()
	}
	s += ": " + c.sayOutcome(w)
	if w.Tried != nil {
		s += fmt.Sprintf("; tried at %v", at(*w.Tried))
	}
	if w.Answered != nil {
		s += fmt.Sprintf(", answered at %v", at(*w.Answered))
	}
	return s
}

// sayOutcome describes why a path was selected or not.
func (c *Connection) sayOutcome(w Way) string {
	switch w.outcome {
	case hyperdht.WaySelected:
		return "selected"
	case hyperdht.WaySilent:
		return "no answer"
	case hyperdht.WayTrying:
		return "no answer yet"
	case hyperdht.WayLater:
		return "not selected, another path was verified first"
	case hyperdht.WayUnproven:
		return "the answer could not be decrypted"
	case hyperdht.WayFailed:
		return "failed, " + w.Error
	case hyperdht.WayReplaced:
		return "selected first, replaced by a better path"
	case hyperdht.WayUnneeded:
		return "not tried, not needed"
	case hyperdht.WayExcluded:
		return "not tried, an option of this side excludes it"
	case hyperdht.WayUnavailable:
		return "not tried, " + c.missing(w.path)
	}
	return w.Outcome
}

// missing names the missing requirement of a path.
func (c *Connection) missing(p hyperdht.Path) string {
	switch {
	case p == hyperdht.PathRelayed:
		return "neither side names a relay"
	case p == hyperdht.PathPunched:
		return "the other side does not take part in hole punching"
	case p == hyperdht.PathDirect:
		return "the other side is behind a NAT or firewall"
	case c.sameAddr:
		return "the other side names no local address"
	}
	return "the two have different public addresses"
}

// at formats a time since the attempt began, as in the list of steps.
func at(s Seconds) string { return fmt.Sprintf("%.3f s", time.Duration(s).Seconds()) }
