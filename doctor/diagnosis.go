package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/muxrpc"
)

// conclude turns what was seen into findings, the gravest first.
func (r *Report) conclude(cfg Config) {
	r.Findings = []Finding{}
	r.concludeNetwork(cfg)
	if r.Network.Entered {
		r.concludeNAT(cfg)
		for _, t := range r.Targets {
			r.concludeTarget(t, cfg)
		}
	}
	r.concludeClock()
	order := []string{Problem, Warning, Note}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return slices.Index(order, a.Level) - slices.Index(order, b.Level)
	})
	r.OK = r.Problems() == 0
}

// Problems is how many things are broken.
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
			"If a node is gone for good, take it out of --dht.bootstrap.")
	case r.Network.Entered:
	case len(r.Machine.Addrs) == 0:
		r.find(Problem, "no_network", "This machine has no network: none of its interfaces has an IPv4 address.", "Connect it to a network. HyperDHT needs IPv4.")
	case stunWorks && public:
		r.find(Problem, "bootstrap_unreachable", "No bootstrap node answers, though UDP gets out: a STUN server answers.",
			"Wait, or look for a firewall that blocks UDP to port 49737.")
	case stunWorks:
		r.find(Problem, "bootstrap_unreachable", "No bootstrap node answers, though UDP gets out: a STUN server answers.",
			"Check the address and port in --dht.bootstrap, that the nodes are running, and that no firewall in front of them blocks their UDP port.")
	case len(r.STUN) > 0:
		r.find(Problem, "udp_blocked", "Neither a bootstrap node nor a STUN server answers: a firewall blocks UDP, or this machine is offline.",
			"Let UDP out on this machine and on its network, to any address and port, and the answers back in.")
	case public:
		r.find(Problem, "udp_blocked", "No bootstrap node of the public network answers: a firewall blocks UDP, or this machine is offline.",
			"Let UDP out on this machine and on its network, to any address and port, and the answers back in.")
	default:
		r.find(Problem, "bootstrap_unreachable", "No bootstrap node answers: they are not running, or elsewhere, or a firewall blocks UDP here or there.",
			"Check the address and port in --dht.bootstrap, that the nodes are running, and that UDP is let out here and let in there.")
	}
}

func (r *Report) concludeNAT(cfg Config) {
	switch r.NAT.kind {
	case hyperdht.NATUnknown:
		r.find(Warning, "nat_unknown", "Too few nodes tell us our address to know what kind of NAT we are behind, so holes cannot be punched.",
			"Name STUN servers with --stun.server, or let the DHT nodes answer STUN (dhtprom-scraper bootstrap --stun).")
	case hyperdht.NATRandom:
		advice := "Name a blind relay with --dht.relay to be quick, and to reach those who have such a NAT, too."
		if len(cfg.Node.Relays) > 0 {
			advice = ""
		}
		r.find(Note, "nat_random", "Our NAT gives every connection another port. Peers with an ordinary NAT are reached by guessing, which takes up to half a minute; "+
			"peers with a NAT like ours only over a blind relay.", advice)
	}
	var silent []string
	for _, s := range r.STUN {
		if !s.OK {
			silent = append(silent, s.Server+" ("+s.Error+")")
		}
	}
	if len(silent) > 0 {
		r.find(Warning, "stun_silent", "STUN does not answer: "+strings.Join(silent, ", ")+".", "Check --stun.server; a silent server costs a second now and then and is of no use.")
	}
}

func (r *Report) concludeClock() {
	if off := time.Duration(r.Machine.ClockOff); off > clockSlack || off < -clockSlack {
		r.find(Warning, "clock_jumped", fmt.Sprintf("The wall clock jumped by %v meanwhile, or the machine slept.", off.Round(time.Millisecond)),
			"Times above may be wrong; run the doctor again. A clock that jumps often makes aliases expire early or late.")
	}
}

// concludeTarget says how a target does.
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
		r.about(t, Problem, "secret_refused", "The connection works, but "+t.Name+" refuses the secret.", advice)
	case SecretUntested:
		if strings.HasPrefix(t.Answer, muxrpc.CodeUnknownMethod) {
			r.about(t, Note, "secret_untested", "The connection works. Whether the secret is right cannot be found out without registering, because "+
				t.Name+" is of the first generation.", "")
			break
		}
		r.about(t, Warning, "secret_untested", "The connection works, but "+t.Name+" did not say whether the secret is right; it answers "+quoted(t.Answer)+".",
			"Try again in a minute. If this stays so, look at what it logs.")
	}
	if !t.Record.Announced && t.Record.err == nil {
		r.about(t, Warning, "record_missing", "A search of the DHT does not find the key of "+t.Name+", though it was reached by a node that still knew it.",
			"If this stays so, it will not be found for long: look at what it logs about its network.")
	}
	if time.Duration(c.Took) > slowConnection {
		r.about(t, Warning, "slow", "The connection took "+c.Took.String()+".", "The steps above say what took the time. Up to half a minute is usual where one NAT is random; a blind relay (--dht.relay) makes it quick.")
	}
	if t.target.Own {
		r.about(t, Note, "own_machine", "This was tried from the scraper's own machine. What a client elsewhere meets, its own doctor says.", "")
	}
}

func quoted(s string) string { return fmt.Sprintf("%.80q", s) }

// concludeFailure says why no connection came about.
func (r *Report) concludeFailure(t *TargetReport, cfg Config) {
	c, who := &t.Connection, t.Name
	aborted := c.is(hyperdht.ErrRemoteAborted) && !c.is(hyperdht.ErrRemoteBusy)
	// A server ends hole punching when it cannot classify its NAT, or when both are random.
	bothRandom := r.NAT.kind == hyperdht.NATRandom && (c.theirs == hyperdht.NATRandom || aborted)
	relay := "Name a blind relay with --dht.relay on either side; dhtprom-scraper relay runs one."
	if len(cfg.Node.Relays) > 0 {
		relay = "The blind relay did not help: see whether it runs and can be reached."
	}
	problem := func(code, text, advice string) { r.about(t, Problem, code, text, advice) }
	switch {
	case !t.Record.Announced && !c.answered:
		r.concludeUnannounced(t)
	case c.is(hyperdht.ErrPeerConnectionFailed), !c.answered:
		problem("server_silent", "The key of "+who+" is announced, but nobody answers: "+who+" has just gone, has lost its network, or its firewall refuses us.", t.silenceAdvice())
	case c.is(hyperdht.ErrServerIncompatible), c.is(hyperdht.ErrServerError):
		problem("server_incompatible", "Answered, but with a refusal: "+c.Error+".", "Update the older side.")
	case c.is(hyperdht.ErrDoubleRandom), bothRandom:
		problem("both_nats_random", "Both NATs give every connection another port, so neither side can know where to send to.", relay)
	case c.is(hyperdht.ErrProbeTimeout), aborted && r.Network.Nodes < enoughNodes:
		problem("nat_unclassified", r.whoseNAT(t)+" could not be classified: too few nodes say where they see it.",
			"Name STUN servers with --stun.server on that side, or let the DHT nodes answer STUN (dhtprom-scraper bootstrap --stun); a DHT of four nodes and more needs none.")
	case c.silent():
		problem("path_dead", fmt.Sprintf("A path was found (%s), but nothing came back on it: a firewall lets UDP through in one direction only, or no longer.", c.Path),
			"Look at the firewalls of both sides, for rules about UDP that tell small packets from large ones or that forget within seconds. "+relay)
	case c.Open:
		problem("no_reply", "The connection was up, but "+who+" did not do what it was asked: "+c.Error+".", "Look at its log for what happened at this time.")
	case c.punching:
		problem("punch_failed", "Both sides sent probes and none arrived: a firewall lets in nothing from where nobody was connected before, or the two may not talk to each other "+
			"(two customers of one carrier, or two hosts of a network that keeps its hosts apart).", "Let UDP out and the answers in, on both sides. "+relay)
	case c.punchErr != nil:
		problem("punch_refused", "Hole punching was given up: "+text(c.punchErr)+".", "Try again in half a minute: a side that guesses ports does so for one peer at a time. "+relay)
	case c.relayErr != nil:
		problem("relay_failed", "There is no direct path, and the blind relay did not help: "+text(c.relayErr)+".", "See whether the relay runs and can be reached.")
	case c.err == errTooLong:
		problem("timeout", "It took longer than "+c.Took.String()+"; the last step was: "+c.lastText()+".", "Try again with a longer --timeout.")
	default:
		problem("failed", "The connection failed: "+c.Error+".", "The steps above say how far it came.")
	}
}

// whoseNAT names the side whose NAT is unknown.
func (r *Report) whoseNAT(t *TargetReport) string {
	if r.NAT.kind == hyperdht.NATUnknown {
		return "Our NAT"
	}
	return "The NAT of " + t.Name
}

func (c *Connection) lastText() string {
	if len(c.Steps) == 0 {
		return "none"
	}
	return c.Steps[len(c.Steps)-1].Text
}

// silenceAdvice is what to do about a target that is announced and does not answer.
func (t *TargetReport) silenceAdvice() string {
	if t.target.Secret.IsZero() {
		return "See whether the client runs, and whether its --scraper is this scraper's key: a client admits nobody else. What is announced stays for some minutes after a client has gone."
	}
	return "See whether the scraper runs and what it logs. What is announced stays for some minutes after a scraper has gone."
}

// concludeUnannounced says what it means that nobody knows a key.
func (r *Report) concludeUnannounced(t *TargetReport) {
	who := t.Name
	switch {
	case t.Record.err != nil:
		r.about(t, Problem, "lookup_failed", "The search for the key of "+who+" failed: "+t.Record.Error+".", "Too few DHT nodes answer: wait, or look at the bootstrap nodes.")
	case t.target.Own:
		r.about(t, Problem, "not_announced", "No DHT node knows this scraper's key: it does not run, it has another key, or it cannot announce itself.",
			"Start dhtprom-scraper with the same --storage.path or --identity.seed-file and the same --dht.bootstrap. If it runs, look at what it logs about its network.")
	case t.target.Secret.IsZero():
		r.about(t, Problem, "not_announced", "No DHT node knows the key of "+who+": the key is wrong, it does not run, or it uses another DHT.",
			"Compare the key with what dhtprom-client prints when it starts, and --dht.bootstrap on both sides.")
	default:
		r.about(t, Problem, "not_announced", "No DHT node knows the key of "+who+": the key is wrong, it does not run, or it uses another DHT.",
			"Compare --scraper with the key that dhtprom-scraper prints when it starts, and --dht.bootstrap on both sides.")
	}
}
