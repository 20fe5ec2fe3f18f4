package domain

import (
	"errors"
	"strings"
)

// Cause is the known cause of a failed connection or exchange. Its text is the code that errors and doctor reports have; most are those
// of hyperdht lib/errors.js.
type Cause string

// The causes.
const (
	CauseNoIPv4            Cause = "NO_IPV4"
	CauseNoDHTNode         Cause = "NO_DHT_NODE"
	CauseTooFewNodes       Cause = "TOO_FEW_NODES"
	CausePeerNotFound      Cause = "PEER_NOT_FOUND"
	CausePeerSilentAtFirst Cause = "PEER_CONNECTION_FAILED"
	CausePeerSilent        Cause = "PEER_SILENT"
	CauseIncompatible      Cause = "SERVER_INCOMPATIBLE"
	CauseServerError       Cause = "SERVER_ERROR"
	CauseBadReply          Cause = "BAD_HANDSHAKE_REPLY"
	CauseDoubleRandom      Cause = "HOLEPUNCH_DOUBLE_RANDOMIZED_NATS"
	CauseNATUnknown        Cause = "HOLEPUNCH_PROBE_TIMEOUT"
	CauseNoPunchNode       Cause = "CANNOT_HOLEPUNCH"
	CauseNotPunching       Cause = "REMOTE_NOT_HOLEPUNCHING"
	CauseNotPunchable      Cause = "REMOTE_NOT_HOLEPUNCHABLE"
	CausePunchFailed       Cause = "HOLEPUNCH_ABORTED"
	CausePunchEnded        Cause = "REMOTE_ABORTED"
	CausePeerBusy          Cause = "REMOTE_BUSY"
	CauseBusy              Cause = "PUNCHES_ELSEWHERE"
	CauseNoRelay           Cause = "NO_RELAY"
	CauseRelay             Cause = "RELAY_ABORTED"
	CauseRelayFull         Cause = "RELAY_FULL"
	CauseRelayKeyFull      Cause = "RELAY_KEY_FULL"
	CauseRelayExpired      Cause = "RELAY_EXPIRED"
	CauseNoAddress         Cause = "NO_ADDRESS"
	CauseTimeout           Cause = "TIMEOUT"
	CauseSecret            Cause = "UNAUTHORISED"
)

// explanations are all words about causes that operators read: in logs, on pages, in status lines and from the doctor. {peer} is the
// other side, {peer's} its possessive. Advice continues the text after a semicolon.
var explanations = map[Cause]struct{ text, advice string }{
	CauseNoIPv4:            {"no DHT node answers: this machine has no IPv4 address", "connect it to a network with IPv4, which HyperDHT needs"},
	CauseNoDHTNode:         {"no DHT node answers", "is UDP blocked, or are the nodes of --dht.bootstrap down?"},
	CauseTooFewNodes:       {"too few DHT nodes answer", "wait, or check the nodes of --dht.bootstrap"},
	CausePeerNotFound:      {"no DHT node knows {peer's} key", "is it running, under this key, and with the same --dht.bootstrap?"},
	CausePeerSilentAtFirst: {"{peer} does not answer", "is it running?"},
	CausePeerSilent:        {"no more packets arrive from {peer}", "has it lost its network, or was it killed?"},
	CauseIncompatible:      {"{peer} uses another version of the protocol", "update the older side"},
	CauseServerError:       {"{peer} answered the handshake with an error", "see its log"},
	CauseBadReply:          {"the answer of a DHT node is malformed", ""},
	CauseDoubleRandom:      {"both NATs give every connection another port", "set a blind relay with --dht.relay on either side"},
	CauseNATUnknown:        {"the kind of one side's NAT could not be determined", "set --stun.server on both sides"},
	CauseNoPunchNode:       {"{peer} names no DHT node for the exchange", ""},
	CauseNotPunching:       {"{peer} does not take part in hole punching", "set a blind relay with --dht.relay on either side"},
	CauseNotPunchable:      {"hole punching cannot work between these two NATs", "set a blind relay with --dht.relay on either side"},
	CausePunchFailed:       {"no packet got through to {peer}", "does a firewall block UDP? A blind relay (--dht.relay) needs no direct path"},
	CausePunchEnded:        {"{peer} ended hole punching", "a blind relay (--dht.relay) needs no direct path"},
	CausePeerBusy:          {"{peer} is busy with another peer whose NAT is random", "the next attempt follows within seconds"},
	CauseBusy:              {"this node is busy with another peer whose NAT is random", "the next attempt follows within seconds"},
	CauseNoRelay:           {"no direct path may be taken, and neither side names a blind relay", "set --dht.relay, or another --dht.path"},
	CauseRelay:             {"the blind relay was unreachable, or did not pair the two sides", "check that it runs and that both sides name its key"},
	CauseRelayFull:         {"the relay has reached its maximum number of connections", "raise its --relay.max-pairs, or run another one"},
	CauseRelayKeyFull:      {"the relay has reached its maximum number of connections for one key", "raise its --relay.max-pairs-per-key, or run another one"},
	CauseRelayExpired:      {"{peer} did not connect to the relay", "is it running, and can it reach the relay?"},
	CauseNoAddress:         {"the name has no IPv4 address", "check the name, and the machine's DNS"},
	CauseTimeout:           {"no answer", ""},
	CauseSecret:            {"the scraper does not accept the secret", "compare --secret-file or the invite with the scraper's secret"},
}

// Causes lists the causes that have an explanation, in no order.
func Causes() []Cause {
	list := make([]Cause, 0, len(explanations))
	for c := range explanations {
		list = append(list, c)
	}
	return list
}

// Explanation describes a failure to its operator. Each part may be empty.
type Explanation struct {
	Cause  Cause
	Text   string // a sentence without its capital letter and full stop
	Advice string // what to do, likewise
}

// String returns text and advice.
func (e Explanation) String() string {
	if e.Advice == "" {
		return e.Text
	}
	return e.Text + "; " + e.Advice
}

// The other sides, for Explain.
const (
	PeerClient  = "the client"
	PeerScraper = "the scraper"
	PeerOther   = "the other side"
)

// Explain describes a cause. peer is the other side, as a noun. The explanation of an unknown cause is empty.
func (c Cause) Explain(peer string) Explanation {
	words, e := strings.NewReplacer("{peer}", peer, "{peer's}", peer+"'s"), explanations[c]
	return Explanation{Cause: c, Text: words.Replace(e.text), Advice: words.Replace(e.advice)}
}

// Explain describes a failed connection or exchange with a peer. The explanation of an unknown cause is empty: the error describes itself.
func Explain(err error, peer string) Explanation { return CauseOf(err).Explain(peer) }

// Describe explains a failed connection or exchange with a peer, with the error itself in parentheses; an error of unknown
// cause describes itself.
func Describe(err error, peer string) string {
	if e := Explain(err, peer); e.Text != "" {
		return e.String() + " (" + err.Error() + ")"
	}
	return err.Error()
}

// CauseError is an error that knows its cause.
type CauseError interface {
	error
	CauseOf() Cause
}

// CauseOf returns the cause of an error, empty for an unknown one.
func CauseOf(err error) Cause {
	if e, ok := errors.AsType[CauseError](err); ok {
		return e.CauseOf()
	}
	return ""
}
