package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
)

// WriteJSON writes the report for programs.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	p := &page{}
	r.writeMachine(p)
	r.writeBootstrap(p)
	r.writeNetwork(p)
	r.writeNAT(p)
	r.writeSTUN(p)
	r.writePortMapping(p)
	r.writeTURN(p)
	for _, t := range r.Targets {
		t.writeRecord(p)
		t.writeConnection(p)
		for _, s := range t.Connection.Steps {
			s.write(p)
		}
		t.writeResult(p)
	}
	r.writeFindings(p)
	_, err := io.WriteString(w, p.String())
	return err
}

// page is text under headings.
type page struct {
	strings.Builder
	begun bool
}

func (p *page) heading(format string, args ...any) {
	if p.begun {
		p.WriteByte('\n')
	}
	p.begun = true
	fmt.Fprintf(p, format+"\n", args...)
}

// Lines about a check begin with its result.
const good, bad = "ok", "FAIL"

func (p *page) line(state, format string, args ...any) {
	fmt.Fprintf(p, "  %-5s "+format+"\n", append([]any{state}, args...)...)
}

func (r *Report) writeMachine(p *page) {
	p.heading("This machine")
	if len(r.Machine.Addrs) == 0 {
		p.line(bad, "no IPv4 address except loopback")
	} else {
		p.line(good, "addresses: %s", join(r.Machine.Addrs))
	}
	if !r.Machine.Wall.IsZero() {
		p.line("", "its clock: %s", r.Machine.Wall.UTC().Format(time.RFC3339))
	}
}

func (r *Report) writeBootstrap(p *page) {
	p.heading("Bootstrap nodes")
	for _, b := range r.Bootstrap {
		name := b.Node
		if b.Addr.IsValid() && b.Addr.String() != b.Node {
			name += " at " + b.Addr.String()
		}
		if b.OK {
			p.line(good, "%s answers in %v and sees this machine at %v", name, b.RTT, b.Seen)
		} else {
			p.line(bad, "%s: %s", name, b.Error)
		}
	}
}

func (r *Report) writeNetwork(p *page) {
	if r.Network.Entered {
		p.line(good, "entered the DHT in %v; nodes known: %d", r.Network.Took, r.Network.Nodes)
	} else {
		p.line(bad, "the DHT cannot be entered")
	}
}

func join[T fmt.Stringer](list []T) string {
	texts := make([]string, 0, len(list))
	for _, e := range list {
		texts = append(texts, e.String())
	}
	return strings.Join(texts, ", ")
}

var kindWords = map[hyperdht.NATKind]string{
	hyperdht.NATUnknown:    "too few samples to determine the kind of NAT",
	hyperdht.NATOpen:       "this machine is reachable from everywhere",
	hyperdht.NATConsistent: "behind a NAT or firewall with one port for all destinations (consistent): hole punching works",
	hyperdht.NATRandom:     "behind a NAT with another port for each destination (random): hole punching guesses ports",
}

func (r *Report) writeNAT(p *page) {
	p.heading("Address and NAT")
	switch a := r.NAT.Public; {
	case !a.IsValid():
		p.line(bad, "public address unknown")
	case a.Port() == 0:
		p.line(good, "public address: %v, with a different port for each peer", a.Addr())
	default:
		p.line(good, "public address: %v", a)
	}
	kind := good
	if r.NAT.kind == hyperdht.NATUnknown {
		kind = bad
	}
	p.line(kind, "%s", kindWords[r.NAT.kind])
	for _, socket := range []string{"punching", "main"} {
		p.samples(socket, r.NAT.Samples)
	}
}

func (r *Report) writeSTUN(p *page) {
	p.heading("STUN")
	if len(r.STUN) == 0 {
		p.line("", "no servers are configured")
	}
	for _, s := range r.STUN {
		name := s.Server
		if s.Addr.IsValid() && s.Addr.String() != s.Server {
			name += " at " + s.Addr.String()
		}
		switch {
		case !s.OK:
			p.line(bad, "%s: %s", name, s.Error)
			continue
		case s.RTT > 0:
			p.line(good, "%s answers in %v and sees this machine at %v", name, s.RTT, s.Seen)
		default:
			p.line(good, "%s answers late and sees this machine at %v", name, s.Seen)
		}
		if s.Alternate.IsValid() {
			p.line("", "  it answers at %v, too", s.Alternate)
		}
	}
}

func (r *Report) writeTURN(p *page) {
	if len(r.TURN) == 0 {
		return
	}
	p.heading("TURN")
	for _, t := range r.TURN {
		name := t.Server
		if t.Proxy != "" {
			name += " through the proxy " + t.Proxy
		}
		if t.OK {
			p.line(good, "%s relays after %v, at %v", name, t.Took, t.Relayed)
		} else {
			p.line(bad, "%s: %s", name, t.Error)
		}
	}
}

// samples lists the samples of one socket.
func (p *page) samples(socket string, all []NATSample) {
	shown := 0
	for _, s := range all {
		if s.Socket != socket {
			continue
		}
		if shown++; shown > maxShown {
			p.line("", "  ... and more")
			return
		}
		p.line("", "  %s socket: %v sees it at %v", socket, s.From, s.Seen)
	}
}

// maxShown bounds the samples and the nodes listed in the text.
const maxShown = 20

func (t *TargetReport) writeRecord(p *page) {
	p.heading("Key of %s, %s", t.Name, t.Key)
	switch n := len(t.Record.Holders); {
	case t.Record.err != nil:
		p.line(bad, "the search failed: %s", t.Record.Error)
	case n == 0:
		p.line(bad, "not announced: no DHT node has its record (searched for %v)", t.Record.Took)
	case n == 1:
		p.line(good, "announced: one DHT node has its record (found in %v)", t.Record.Took)
	default:
		p.line(good, "announced: %d DHT nodes have its record (found in %v)", n, t.Record.Took)
	}
	for i, h := range t.Record.Holders {
		if i == maxShown {
			p.line("", "  ... and more")
			break
		}
		relays := ""
		if len(h.Relays) > 0 {
			relays = ", with other nodes that lead to it: " + join[netip.AddrPort](h.Relays)
		}
		p.line("", "  %v%s", h.Node, relays)
	}
}

func (t *TargetReport) writeConnection(p *page) {
	over := ""
	if t.OverTURN {
		over = ", over a TURN server"
	}
	p.heading("Connection to %s%s", t.Name, over)
}

func (s Step) write(p *page) {
	peer := ""
	if s.Peer != "" {
		peer = "  (relay) "
	}
	p.line("", "%8.3f s  %s%s", time.Duration(s.At).Seconds(), peer, s.Text)
}

func (t *TargetReport) writeResult(p *page) {
	p.ways(t)
	switch c := &t.Connection; {
	case c.err != nil:
		p.line(bad, "failed after %v: %s", c.Took, raw(c.err))
	case t.Secret == SecretRefused:
		p.line(good, "connected (%s)", c.Path)
		p.line(bad, "the secret is rejected")
	case t.Secret == SecretAccepted:
		p.line(good, "connected (%s), and the secret is accepted, after %v", c.Path, c.Took)
	case t.Secret == SecretUntested:
		p.line(good, "connected (%s) after %v; the secret was not tried", c.Path, c.Took)
	default:
		p.line(good, "connected (%s), and it answers, after %v", c.Path, c.Took)
	}
}

// ways lists the paths to a target, the selected one marked.
func (p *page) ways(t *TargetReport) {
	if len(t.Connection.Ways) == 0 {
		return
	}
	p.line("", "paths to %s:", t.Name)
	for _, w := range t.Connection.Ways {
		state := ""
		if w.outcome == hyperdht.WaySelected {
			state = good
		}
		p.line(state, "  %s", w.Text)
	}
}

func (r *Report) writeFindings(p *page) {
	if len(r.Findings) > 0 {
		p.heading("Findings")
	}
	for _, f := range r.Findings {
		fmt.Fprintf(p, "  %s: %s\n", f.Level, f.Text)
		if f.Advice != "" {
			fmt.Fprintf(p, "    Advice: %s\n", f.Advice)
		}
	}
	if r.OK {
		p.heading("No problems found.")
	}
}
