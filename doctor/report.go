package doctor

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/stun"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
)

// Seconds is a duration, in JSON a number of seconds.
type Seconds time.Duration

// MarshalJSON implements json.Marshaler.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, time.Duration(s).Round(time.Microsecond).Seconds(), 'f', -1, 64), nil
}

// String rounds to a useful precision.
func (s Seconds) String() string {
	d := time.Duration(s)
	if d < time.Second {
		return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 1, 64) + " ms"
	}
	return strconv.FormatFloat(d.Seconds(), 'f', 2, 64) + " s"
}

// Report is the result of an examination.
type Report struct {
	// OK means that there are no problems.
	OK   bool    `json:"ok"`
	Took Seconds `json:"took_seconds"`

	Machine   Machine         `json:"machine"`
	Bootstrap []BootstrapNode `json:"bootstrap"`
	Network   Network         `json:"network"`
	NAT       NAT             `json:"nat"`
	STUN      []STUNServer    `json:"stun"`
	TURN      []TURNServer    `json:"turn,omitempty"`
	// PortMapping is the router's answer; nil where it is not known or was not asked.
	PortMapping *PortMapping    `json:"port_mapping,omitempty"`
	Targets     []*TargetReport `json:"targets"`
	Findings    []Finding       `json:"findings"`
}

// Machine describes this machine.
type Machine struct {
	Addrs []netip.Addr `json:"addresses"`
	// ClockOff is the drift of the wall clock against the steady one during the examination.
	ClockOff Seconds   `json:"clock_off_seconds"`
	Wall     time.Time `json:"time,omitzero"` // at the start
}

// BootstrapNode is a bootstrap node of the network.
type BootstrapNode struct {
	Node  string         `json:"node"`
	Addr  netip.AddrPort `json:"address,omitzero"`
	OK    bool           `json:"ok"`
	RTT   Seconds        `json:"rtt_seconds,omitzero"`
	Seen  netip.AddrPort `json:"sees_us_at,omitzero"`
	Error string         `json:"error,omitempty"`
}

// Network is the DHT as seen by the node.
type Network struct {
	Entered bool    `json:"entered"`
	Took    Seconds `json:"took_seconds,omitzero"`
	Nodes   int     `json:"nodes"`
}

// NAT describes the NAT between this machine and the internet.
type NAT struct {
	// Public is this machine's address as seen by others; port 0 means that each sees another port.
	Public netip.AddrPort `json:"public_address,omitzero"`
	// Kind is the kind that hole punching uses, from a fresh socket's samples; Main that of the node's main socket.
	Kind    string      `json:"kind"`
	Main    string      `json:"main_socket_kind"`
	Samples []NATSample `json:"samples"`

	kind hyperdht.NATKind
}

// NATSample is an address at which one of the sockets was seen.
type NATSample struct {
	// Socket is "punching" for the fresh one, "main" for the one that queries the DHT.
	Socket string         `json:"socket"`
	From   netip.AddrPort `json:"from"`
	Seen   netip.AddrPort `json:"sees_us_at"`
}

// STUNServer is a configured STUN server.
type STUNServer struct {
	Server    string         `json:"server"`
	Addr      netip.AddrPort `json:"address,omitzero"`
	Alternate netip.AddrPort `json:"alternate_address,omitzero"`
	OK        bool           `json:"ok"`
	RTT       Seconds        `json:"rtt_seconds,omitzero"`
	Seen      netip.AddrPort `json:"sees_us_at,omitzero"`
	Error     string         `json:"error,omitempty"`
}

// TURNServer is a configured TURN server.
type TURNServer struct {
	Server  string         `json:"server"`
	Proxy   string         `json:"proxy,omitempty"`
	OK      bool           `json:"ok"`
	Relayed netip.AddrPort `json:"relayed_address,omitzero"`
	Took    Seconds        `json:"took_seconds,omitzero"`
	Error   string         `json:"error,omitempty"`
}

// TargetReport is the report about one target.
type TargetReport struct {
	Name       string           `json:"name"`
	Key        domain.PublicKey `json:"key"`
	Record     Record           `json:"record"`
	Connection Connection       `json:"connection"`
	// OverTURN means that a TURN server carried all datagrams to and from the target.
	OverTURN bool `json:"over_turn,omitempty"`
	// Secret is one of the constants; empty if none was checked.
	Secret string `json:"secret,omitempty"`
	// Answer is the target's answer if it neither accepted nor rejected the secret.
	Answer string `json:"answer,omitempty"`

	target Target
}

// Results of checking a secret.
const (
	SecretAccepted = "accepted"
	SecretRefused  = "refused"
	SecretUntested = "untested"
)

// Record is the DHT's record of a key.
type Record struct {
	Announced bool     `json:"announced"`
	Took      Seconds  `json:"took_seconds"`
	Holders   []Holder `json:"holders"`
	Error     string   `json:"error,omitempty"`

	err error
}

// Holder is a DHT node that has a key's record and so leads to its server.
type Holder struct {
	Node   netip.AddrPort   `json:"node"`
	Relays []netip.AddrPort `json:"relays,omitempty"`
}

// Finding is a conclusion, with advice.
type Finding struct {
	// Level is "problem" for something broken, "warning" for something that may break, "note" for information.
	Level string `json:"level"`
	// Code names the finding for programs. Target is its subject, empty for this machine's network.
	Code   string `json:"code"`
	Target string `json:"target,omitempty"`
	Text   string `json:"text"`
	Advice string `json:"advice,omitempty"`
}

// The levels of a finding.
const (
	Problem = "problem"
	Warning = "warning"
	Note    = "note"
)

func (r *Report) bootstrap(list []hyperdht.BootstrapStatus) {
	for _, b := range list {
		r.Bootstrap = append(r.Bootstrap, BootstrapNode{
			Node: b.Entry, Addr: b.Addr, OK: b.Err == nil, RTT: Seconds(b.RTT), Seen: b.Seen, Error: text(b.Err),
		})
	}
}

func (r *Report) network(s hyperdht.Status) {
	r.Network.Nodes = s.Nodes
	r.Network.Entered = s.Ready && (s.Nodes > 0 || r.reached())
}

// reached reports whether a bootstrap node has answered.
func (r *Report) reached() bool {
	return slices.ContainsFunc(r.Bootstrap, func(b BootstrapNode) bool { return b.OK })
}

func (r *Report) nat(fresh hyperdht.NATReport, main hyperdht.NATStatus) {
	n := &r.NAT
	n.Public, n.Kind, n.Main, n.kind = main.Public, fresh.Kind.String(), main.Kind.String(), fresh.Kind
	if main.Kind == hyperdht.NATOpen {
		n.kind = main.Kind
	}
	add := func(socket string, samples []hyperdht.NATSample) {
		for _, s := range samples {
			n.Samples = append(n.Samples, NATSample{Socket: socket, From: s.From, Seen: s.Seen})
		}
	}
	add("punching", fresh.Samples) // first, because these decide
	add("main", main.Samples)
}

// stun adds the servers' answers, the early ones about the main socket.
func (r *Report) stun(early, late []stun.ServerStatus) {
	for i, s := range early {
		if s.AnsweredAt == 0 {
			s = late[i]
		}
		out := STUNServer{Server: s.Server, Addr: s.Addr, Alternate: s.Alternate, OK: s.AnsweredAt != 0, RTT: Seconds(s.RTT), Seen: s.Seen}
		switch {
		case out.OK:
		case s.Err != nil:
			out.Error = s.Err.Error()
		default:
			out.Error = "no answer"
		}
		r.STUN = append(r.STUN, out)
	}
}

// turn adds the results of TURN servers.
func (r *Report) turn(results []dhtprom.TURNResult) {
	for _, t := range results {
		r.TURN = append(r.TURN, TURNServer{Server: t.Server, Proxy: t.Proxy, OK: t.Err == nil, Relayed: t.Relayed, Took: Seconds(t.Took), Error: text(t.Err)})
	}
}

// relays reports whether a TURN server relays.
func (r *Report) relays() bool {
	return slices.ContainsFunc(r.TURN, func(t TURNServer) bool { return t.OK })
}

func (r *Report) clock(began, now time.Time, steady time.Duration) {
	r.Machine.ClockOff = Seconds(now.Round(0).Sub(began.Round(0)) - steady)
}

// text describes an error, empty for none.
func text(err error) string {
	if err == nil {
		return ""
	}
	if known := dht.CauseOf(err).Explain(domain.PeerOther); known.Text != "" {
		return known.Text
	}
	return code.ReplaceAllString(err.Error(), "")
}

// raw is the description of an error, with its code or its own text where that is something else.
func raw(err error) string {
	said := text(err)
	if c := dht.CauseOf(err); c != "" {
		return said + " [" + string(c) + "]"
	}
	return said
}

// code matches the prefix of the protocol's errors.
var code = regexp.MustCompile(`^[A-Z_]+: `)
