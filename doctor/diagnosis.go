package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/muxrpc"
)

// conclude derives findings from the observations, the most severe first.
func (r *Report) conclude(cfg Config) {
	r.Findings = []Finding{}
	r.concludeNetwork(cfg)
	if r.Network.Entered {
		r.concludeNAT(cfg)
	}
	for _, t := range r.Targets {
		r.concludeTarget(t, cfg)
	}
	r.concludeTURN()
	r.concludeClock()
	order := []string{Problem, Warning, Note}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return slices.Index(order, a.Level) - slices.Index(order, b.Level)
	})
	r.OK = r.Problems() == 0
}

// Problems is the number of problems.
func (r *Report) Problems() int {
	n := 0
	for _, f := range r.Findings {
		if f.Level == Problem {
			n++
		}
	}
	return n
}

func (r *Report) find(level, code, text, advice string) {
	r.Findings = append(r.Findings, Finding{Level: level, Code: code, Text: text, Advice: advice})
}

// about adds a finding about a target.
func (r *Report) about(t *TargetReport, level, code, text, advice string) {
	r.Findings = append(r.Findings, Finding{Level: level, Code: code, Target: t.Name, Text: text, Advice: advice})
}

// onePort is the advice where UDP is restricted.
const onePort = "One open UDP port is enough to a scraper with --dht.public-address, and TCP or TLS to a TURN server (--turn.server)."

// reachedWithout reports whether all targets were reached though no DHT node answers.
func (r *Report) reachedWithout() bool {
	failed := func(t *TargetReport) bool { return t.Connection.err != nil }
	return len(r.Targets) > 0 && !slices.ContainsFunc(r.Targets, failed)
}

func (r *Report) concludeNetwork(cfg Config) {
	var silent []string
	for _, b := range r.Bootstrap {
		if !b.OK {
			silent = append(silent, b.Node)
		}
	}
	stunWorks := slices.ContainsFunc(r.STUN, func(s STUNServer) bool { return s.OK })
	public := cfg.Node.Bootstrap == nil
	switch {
	case r.Network.Entered && len(silent) > 0:
		r.find(Warning, "bootstrap_partly_silent", "No answer from "+strings.Join(silent, ", ")+"; other nodes answer, so this does no harm now.",
			"If a node is gone permanently, remove it from --dht.bootstrap.")
	case r.Network.Entered:
	case r.relays():
		r.find(Note, "turn_used", "No DHT node answers over UDP, and a TURN server relays: connections take that.",
			"Allow outgoing UDP for paths without a third machine.")
	case len(r.Machine.Addrs) == 0:
		r.find(Problem, "no_network", "This machine has no network: none of its interfaces has an IPv4 address.",
			"Connect it to a network with IPv4, which HyperDHT needs, or set a TURN server with --turn.server.")
	case r.reachedWithout():
		r.find(Warning, "dht_unreachable", "No DHT node answers. The scraper is reached at its known address, and needs none.",
			"If the scraper moves, it is not found from here, unless its address is a name that follows. Allow outgoing UDP to any port to avoid that.")
	case stunWorks && public:
		r.find(Problem, "bootstrap_unreachable", "No bootstrap node answers, though outgoing UDP works: a STUN server answers.",
			"Wait, or check for a firewall that blocks UDP to port 49737. "+onePort)
	case stunWorks:
		r.find(Problem, "bootstrap_unreachable", "No bootstrap node answers, though outgoing UDP works: a STUN server answers.",
			"Check the address and port in --dht.bootstrap, that the nodes are running, and that no firewall in front of them blocks their UDP port.")
	case len(r.STUN) > 0:
		r.find(Problem, "udp_blocked", "Neither a bootstrap node nor a STUN server answers: a firewall blocks UDP, or this machine is offline.",
			"Allow outgoing UDP on this machine and its network, to any address and port, and the answers to it. "+onePort)
	case public:
		r.find(Problem, "udp_blocked", "No bootstrap node of the public network answers: a firewall blocks UDP, or this machine is offline.",
			"Allow outgoing UDP on this machine and its network, to any address and port, and the answers to it. "+onePort)
	default:
		r.find(Problem, "bootstrap_unreachable", "No bootstrap node answers: they are not running, their address is wrong, or a firewall blocks UDP on either side.",
			"Check the address and port in --dht.bootstrap, that the nodes are running, and that outgoing UDP is allowed here and incoming UDP there.")
	}
}

func (r *Report) concludeNAT(cfg Config) {
	switch r.NAT.kind {
	case hyperdht.NATUnknown:
		r.find(Warning, "nat_unknown", "Too few nodes report this machine's address to determine the kind of its NAT, so hole punching is impossible.",
			"Set STUN servers with --stun.server, or let the DHT nodes answer STUN (dhtprom-scraper bootstrap --stun).")
	case hyperdht.NATRandom:
		advice := "Set a blind relay with --dht.relay for quick connections, also to peers with a random NAT."
		if len(cfg.Node.Relays) > 0 {
			advice = ""
		}
		r.find(Note, "nat_random", "This machine's NAT maps every connection to another port. Peers with an ordinary NAT are reached by guessing ports, which takes up to half a minute; "+
			"peers with a random NAT only over a blind relay.", advice)
	}
	var silent []string
	for _, s := range r.STUN {
		if !s.OK {
			silent = append(silent, s.Server+" ("+s.Error+")")
		}
	}
	if len(silent) > 0 {
		r.find(Warning, "stun_silent", "STUN does not answer: "+strings.Join(silent, ", ")+".", "Check --stun.server; a silent server only delays the node by a second now and then.")
	}
}

func (r *Report) concludeTURN() {
	var failed []string
	for _, t := range r.TURN {
		if !t.OK {
			failed = append(failed, t.Server+" ("+t.Error+")")
		}
	}
	switch {
	case len(failed) == 0:
	case r.Network.Entered || r.relays():
		r.find(Warning, "turn_failed", "TURN servers that do not relay: "+strings.Join(failed, ", ")+".", "They are not needed now. Check --turn.server, --turn.credentials-file and --turn.proxy.")
	default:
		r.find(Problem, "turn_failed", "No TURN server relays: "+strings.Join(failed, ", ")+".", "Check --turn.server, --turn.credentials-file and --turn.proxy; the error names the step that failed.")
	}
}

func (r *Report) concludeClock() {
	if off := time.Duration(r.Machine.ClockOff); off > clockSlack || off < -clockSlack {
		r.find(Warning, "clock_jumped", fmt.Sprintf("The wall clock jumped by %v meanwhile, or the machine slept.", off.Round(time.Millisecond)),
			"Times above may be wrong; run the doctor again. A clock that jumps often makes aliases expire early or late.")
	}
}

// concludeTarget adds the findings about a target.
func (r *Report) concludeTarget(t *TargetReport, cfg Config) {
	c := &t.Connection
	if c.err != nil {
		r.concludeFailure(t, cfg)
		return
	}
	switch t.Secret {
	case SecretRefused:
		advice := "Compare the secret with the one the scraper was started with: its --secret-file, or the file secret in its --storage.path."
		if t.target.Own {
			advice = "The running scraper was started with another secret: compare --secret-file and --storage.path, and restart it after changing a secret."
		}
		r.about(t, Problem, "secret_refused", "The connection works, but "+t.Name+" rejects the secret.", advice)
	case SecretUntested:
		if strings.HasPrefix(t.Answer, muxrpc.CodeUnknownMethod) {
			r.about(t, Note, "secret_untested", "The connection works. Whether the secret is valid cannot be checked without registering, because "+
				t.Name+" is of the first generation.", "")
			break
		}
		r.about(t, Warning, "secret_untested", "The connection works, but "+t.Name+" did not report whether the secret is valid; it answers "+quoted(t.Answer)+".",
			"Try again in a minute. If the warning persists, check its log.")
	}
	if !t.Record.Announced && t.Record.err == nil && r.Network.Entered {
		r.about(t, Warning, "record_missing", "A search of the DHT does not find the key of "+t.Name+", though a node that still had its record led to it.",
			"If the warning persists, it will soon be unreachable: check its log for network errors.")
	}
	if time.Duration(c.Took) > slowConnection {
		r.about(t, Warning, "slow", "The connection took "+c.Took.String()+".", "The steps above show where the time went. Up to half a minute is usual where one NAT is random; a blind relay (--dht.relay) avoids that.")
	}
	if t.target.Own {
		r.about(t, Note, "own_machine", "This was checked from the scraper's own machine. Run the doctor on a client's machine to check its connection.", "")
	}
}

func quoted(s string) string { return fmt.Sprintf("%.80q", s) }

// concludeFailure adds the cause of a failed connection.
func (r *Report) concludeFailure(t *TargetReport, cfg Config) {
	c, who := &t.Connection, t.Name
	aborted := c.is(hyperdht.ErrRemoteAborted) && !c.is(hyperdht.ErrRemoteBusy)
	// A server ends hole punching when it cannot classify its NAT, or when both are random.
	bothRandom := r.NAT.kind == hyperdht.NATRandom && (c.theirs == hyperdht.NATRandom || aborted)
	relay := "Set a blind relay with --dht.relay on either side; dhtprom-scraper relay runs one."
	if len(cfg.Node.Relays) > 0 {
		relay = "The blind relay did not help: check that it runs and is reachable."
	}
	problem := func(code, text, advice string) { r.about(t, Problem, code, text, advice) }
	switch {
	case !r.Network.Entered && !t.OverTURN && !c.answered:
		problem("known_address_silent", "No answer from "+who+" at its known address, and no DHT node answers that could know another one.",
			"Check that its UDP port is open there, that the address in the invite is the one of --dht.public-address, and that this network lets out UDP to that port.")
	case !t.Record.Announced && !c.answered:
		r.concludeUnannounced(t)
	case c.is(hyperdht.ErrPeerConnectionFailed), !c.answered:
		problem("server_silent", "The key of "+who+" is announced, but there is no answer: "+who+" has just stopped, has lost its network, or its firewall rejects this peer.", t.silenceAdvice())
	case c.is(hyperdht.ErrServerIncompatible), c.is(hyperdht.ErrServerError):
		problem("server_incompatible", "Answered, but with an error:  "+c.Error+".", "Update the older side.")
	case c.is(hyperdht.ErrDoubleRandom), bothRandom:
		problem("both_nats_random", "Both NATs map every connection to another port, so neither side can know where to send.", relay)
	case c.is(hyperdht.ErrProbeTimeout), aborted && r.Network.Nodes < enoughNodes:
		problem("nat_unclassified", r.whoseNAT(t)+" could not be classified: too few nodes report its address.",
			"Set STUN servers with --stun.server on that side, or let the DHT nodes answer STUN (dhtprom-scraper bootstrap --stun); a DHT of four nodes and more needs none.")
	case c.silent():
		problem("path_dead", fmt.Sprintf("A path was found (%s), but no packet came back on it: a firewall passes UDP in one direction only, or stopped passing it.", c.Path),
			"Check the firewalls of both sides for UDP rules that depend on the packet size or that expire within seconds. "+relay)
	case c.Open:
		problem("no_reply", "The connection was open, but the request to "+who+" failed: "+c.Error+".", "Check its log for this time.")
	case c.punching:
		problem("punch_failed", "Both sides sent probes and none arrived: a firewall blocks incoming UDP even after outgoing packets, or the network isolates the two "+
			"(two customers of one carrier, or two hosts of a network that keeps its hosts apart).", "Allow outgoing UDP and the answers to it on both sides. "+relay)
	case c.punchErr != nil:
		problem("punch_refused", "Hole punching failed: "+text(c.punchErr)+".", "Try again in half a minute: a side guesses ports for one peer at a time. "+relay)
	case c.relayErr != nil:
		problem("relay_failed", "There is no direct path, and the blind relay did not help: "+text(c.relayErr)+".", "Check that the relay runs and is reachable.")
	case c.err == errTooLong:
		problem("timeout", "It took longer than "+c.Took.String()+"; the last step was: "+c.lastText()+".", "Try again with a longer --timeout.")
	default:
		problem("failed", "The connection failed: "+c.Error+".", "The steps above show how far it got.")
	}
}

// whoseNAT names the side whose NAT is unknown.
func (r *Report) whoseNAT(t *TargetReport) string {
	if r.NAT.kind == hyperdht.NATUnknown {
		return "This machine's NAT"
	}
	return "The NAT of " + t.Name
}

func (c *Connection) lastText() string {
	if len(c.Steps) == 0 {
		return "none"
	}
	return c.Steps[len(c.Steps)-1].Text
}

// silenceAdvice is the advice for an announced target that does not answer.
func (t *TargetReport) silenceAdvice() string {
	if t.target.Secret.IsZero() {
		return "Check that the client runs, and that its --scraper is this scraper's key: a client admits only its scrapers. An announcement stays for some minutes after a client has stopped."
	}
	return "Check that the scraper runs, and check its log. An announcement stays for some minutes after a scraper has stopped."
}

// concludeUnannounced adds the finding for a key without a record.
func (r *Report) concludeUnannounced(t *TargetReport) {
	who := t.Name
	switch {
	case t.Record.err != nil:
		r.about(t, Problem, "lookup_failed", "The search for the key of "+who+" failed: "+t.Record.Error+".", "Too few DHT nodes answer: wait, or check the bootstrap nodes.")
	case t.target.Own:
		r.about(t, Problem, "not_announced", "No DHT node knows this scraper's key: it does not run, it has another key, or it cannot announce itself.",
			"Start dhtprom-scraper with the same --storage.path or --identity.seed-file and the same --dht.bootstrap. If it runs, check its log for network errors.")
	case t.target.Secret.IsZero():
		r.about(t, Problem, "not_announced", "No DHT node knows the key of "+who+": the key is wrong, it does not run, or it uses another DHT.",
			"Compare the key with the one that dhtprom-client prints at its start, and --dht.bootstrap on both sides.")
	default:
		r.about(t, Problem, "not_announced", "No DHT node knows the key of "+who+": the key is wrong, it does not run, or it uses another DHT.",
			"Compare --scraper with the key that dhtprom-scraper prints at its start, and --dht.bootstrap on both sides.")
	}
}
