package doctor

import (
	"errors"
	"net/netip"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Connection is a connection attempt, step by step.
type Connection struct {
	// Open means that the encryption was established, so that the other side has proven its key.
	Open  bool    `json:"open"`
	Path  string  `json:"path,omitempty"`
	Took  Seconds `json:"took_seconds"`
	Error string  `json:"error,omitempty"`
	// Cause is the code of a known error, as in logs.
	Cause domain.Cause `json:"cause,omitempty"`
	Steps []Step       `json:"steps"`
	// Ways are the paths that were considered once the target had answered the handshake.
	Ways []Way `json:"ways,omitempty"`

	err          error
	answered     bool             // a handshake came back
	sameAddr     bool             // behind the same public address
	ours, theirs hyperdht.NATKind // as last reported in a punch round
	punching     bool             // probes were sent
	path         hyperdht.Path    // the last one
	arrived      bool             // a packet arrived on it
	punchErr     error            // reason of giving up hole punching
	relayErr     error            // reason why a relay did not carry it
	last         hyperdht.AttemptStep
}

// Step is one step of a connection attempt.
type Step struct {
	At   Seconds `json:"at_seconds"`
	Step string  `json:"step"`
	// Peer is "relay" in the steps of the connection to a blind relay.
	Peer string `json:"peer,omitempty"`
	Text string `json:"text"`

	Node   netip.AddrPort `json:"node,omitzero"`
	Addr   netip.AddrPort `json:"address,omitzero"`
	Seen   netip.AddrPort `json:"sees_us_at,omitzero"`
	Ours   string         `json:"our_nat,omitempty"`
	Theirs string         `json:"their_nat,omitempty"`
	Path   string         `json:"path,omitempty"`
	Error  string         `json:"error,omitempty"`
}

// note adds a step, or reports false if an event is not one.
func (c *Connection) note(t *TargetReport, start, now host.Instant, e hyperdht.AttemptEvent) bool {
	if c.noteWayOf(t, start, e) || len(c.Steps) >= maxSteps {
		return false
	}
	who, toRelay := t.Name, e.Key != id.PublicKey(t.Key)
	if toRelay {
		who = "the relay"
	}
	s := Step{
		At: Seconds(now.Sub(start)), Step: e.Step.String(), Node: e.Node, Addr: e.Addr, Seen: e.Seen, Error: text(e.Err), Text: say(who, e),
	}
	if e.Path != hyperdht.PathNone {
		s.Path = e.Path.String()
	}
	switch e.Step {
	case hyperdht.AttemptProbed, hyperdht.AttemptPunching:
		s.Ours, s.Theirs = e.Ours.String(), e.Theirs.String()
	case hyperdht.AttemptAnswered:
		s.Theirs = e.Theirs.String()
	}
	if toRelay {
		s.Peer = "relay"
	} else {
		c.learn(e)
	}
	c.Steps = append(c.Steps, s)
	return true
}

// maxSteps bounds the steps of an attempt; some forty are usual, including lookups on a large DHT and the attempt to a relay.
const maxSteps = 500

// learn records what the diagnosis depends on.
func (c *Connection) learn(e hyperdht.AttemptEvent) {
	if e.Step != hyperdht.AttemptClosed {
		c.last = e.Step
	}
	switch e.Step {
	case hyperdht.AttemptAnswered:
		c.answered = true
		c.sameAddr = e.Addr.Addr() == e.Seen.Addr()
	case hyperdht.AttemptProbed:
		c.ours, c.theirs = e.Ours, e.Theirs
	case hyperdht.AttemptPunching:
		c.punching = true
		c.ours, c.theirs = e.Ours, e.Theirs
	case hyperdht.AttemptPunchFailed:
		c.punchErr = e.Err
	case hyperdht.AttemptRelayFailed:
		c.relayErr = e.Err
	case hyperdht.AttemptPath:
		c.path, c.Path = e.Path, e.Path.String()
	case hyperdht.AttemptFirstPacket:
		c.arrived = true
	}
}

// say describes a step.
func say(who string, e hyperdht.AttemptEvent) string {
	switch e.Step {
	case hyperdht.AttemptStarted:
		return "looking for " + who + "'s key in the DHT"
	case hyperdht.AttemptRecord:
		return addr(e.Node) + " holds the key's record"
	case hyperdht.AttemptSearched:
		if e.Err != nil {
			return "the search failed: " + text(e.Err)
		}
		return "all nodes near the key were queried"
	case hyperdht.AttemptHandshake:
		return "handshake sent through " + addr(e.Node)
	case hyperdht.AttemptUnanswered:
		return "no handshake back through " + addr(e.Node) + ": " + text(e.Err)
	case hyperdht.AttemptAnswered:
		return who + " answers through " + addr(e.Node) + ", which sees it at " + addr(e.Addr) + " and this machine at " + addr(e.Seen) + "; " + claim(e.Theirs)
	case hyperdht.AttemptWaiting:
		return "this machine is reachable from everywhere, so " + who + " connects to it"
	case hyperdht.AttemptLAN:
		return "same public address as " + who + "; pinging its local one, " + addr(e.Addr)
	case hyperdht.AttemptLANFailed:
		return "no answer from " + addr(e.Addr) + " within this network"
	case hyperdht.AttemptProbing:
		return "probe round through " + addr(e.Node) + ": both sides exchange their kinds of NAT"
	case hyperdht.AttemptProbed:
		return "answered: this machine's NAT is " + e.Ours.String() + ", that of " + who + " is " + e.Theirs.String()
	case hyperdht.AttemptAgreed:
		return "punch round: " + who + " punches, too"
	case hyperdht.AttemptPunching:
		return "both sides send probes: " + strategy(e.Ours, e.Theirs)
	case hyperdht.AttemptPunchFailed:
		return "hole punching failed: " + text(e.Err)
	case hyperdht.AttemptRelay:
		return "asking the blind relay " + e.Relay.Short() + " to carry the connection"
	case hyperdht.AttemptRelayPaired:
		return "the relay carries it"
	case hyperdht.AttemptRelayFailed:
		return "the relay does not carry it: " + text(e.Err)
	case hyperdht.AttemptPath:
		return "path: " + pathWords[e.Path] + addr(e.Addr)
	case hyperdht.AttemptTried:
		return "not verified yet; also tried: " + pathWords[e.Path] + addr(e.Addr)
	case hyperdht.AttemptFirstPacket:
		return "first packet from " + who
	case hyperdht.AttemptOpen:
		return "encryption established: this is " + who
	case hyperdht.AttemptClosed:
		return "over: " + text(e.Err)
	}
	return e.Step.String()
}

var pathWords = map[hyperdht.Path]string{
	hyperdht.PathDirect:  "directly to ",
	hyperdht.PathLAN:     "within this network to ",
	hyperdht.PathPunched: "through punched holes to ",
	hyperdht.PathRelayed: "over the relay at ",
}

// claim describes a server's statement about its own NAT.
func claim(k hyperdht.NATKind) string {
	switch k {
	case hyperdht.NATUnknown:
		return "it is behind a NAT or firewall"
	case hyperdht.NATOpen:
		return "it reports that it is reachable from everywhere"
	}
	return "it reports that its NAT is " + k.String()
}

func strategy(ours, theirs hyperdht.NATKind) string {
	switch {
	case ours == hyperdht.NATRandom:
		return "from 256 sockets, so that the other side can guess one of their ports"
	case theirs == hyperdht.NATRandom:
		return "to 1750 guessed ports of the other side, which takes up to 35 s"
	}
	return "to each other's address"
}

func addr(a netip.AddrPort) string {
	if !a.IsValid() {
		return "an unknown address"
	}
	return a.String()
}

// silent reports whether an attempt failed because its path went silent after it was selected.
func (c *Connection) silent() bool {
	return c.err != nil && c.path != hyperdht.PathNone && !c.arrived
}

func (c *Connection) is(err error) bool { return errors.Is(c.err, err) }
