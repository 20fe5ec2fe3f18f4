package doctor

import (
	"errors"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/dhtprom/dhtprom/adapters/stun"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
)

// Seconds is a duration that JSON has as a number of seconds.
type Seconds time.Duration

// MarshalJSON implements json.Marshaler.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, time.Duration(s).Round(time.Microsecond).Seconds(), 'f', -1, 64), nil
}

// String rounds to what is worth reading.
func (s Seconds) String() string {
	d := time.Duration(s)
	if d < time.Second {
		return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 1, 64) + " ms"
	}
	return strconv.FormatFloat(d.Seconds(), 'f', 2, 64) + " s"
}

// Report is what was found.
type Report struct {
	// OK means that nothing is broken.
	OK   bool    `json:"ok"`
	Took Seconds `json:"took_seconds"`

	Machine   Machine         `json:"machine"`
	Bootstrap []BootstrapNode `json:"bootstrap"`
	Network   Network         `json:"network"`
	NAT       NAT             `json:"nat"`
	STUN      []STUNServer    `json:"stun"`
	Targets   []*TargetReport `json:"targets"`
	Findings  []Finding       `json:"findings"`
}

// Machine is where we run.
type Machine struct {
	Addrs []netip.Addr `json:"addresses"`
	// ClockOff is how far the wall clock went ahead of the steady one meanwhile.
	ClockOff Seconds   `json:"clock_off_seconds"`
	Wall     time.Time `json:"time,omitzero"`
}

// BootstrapNode is a node to enter the network by.
type BootstrapNode struct {
	Node  string         `json:"node"`
	Addr  netip.AddrPort `json:"address,omitzero"`
	OK    bool           `json:"ok"`
	RTT   Seconds        `json:"rtt_seconds,omitzero"`
	Seen  netip.AddrPort `json:"sees_us_at,omitzero"`
	Error string         `json:"error,omitempty"`
}

// Network is the DHT as the node sees it.
type Network struct {
	Entered bool    `json:"entered"`
	Took    Seconds `json:"took_seconds,omitzero"`
	Nodes   int     `json:"nodes"`
}

// NAT is what stands between us and the others.
type NAT struct {
	// Public is our address as others see it; port 0 means that each sees another port.
	Public netip.AddrPort `json:"public_address,omitzero"`
	// Kind is what hole punching goes by, from a fresh socket's samples; Main that of the node's main socket.
	Kind    string      `json:"kind"`
	Main    string      `json:"main_socket_kind"`
	Samples []NATSample `json:"samples"`

	kind hyperdht.NATKind
}

// NATSample is an address that one of our sockets was seen at.
type NATSample struct {
	// Socket is "punching" for the fresh one, "main" for that which asks the DHT.
	Socket string         `json:"socket"`
	From   netip.AddrPort `json:"from"`
	Seen   netip.AddrPort `json:"sees_us_at"`
}

// STUNServer is one that was asked.
type STUNServer struct {
	Server    string         `json:"server"`
	Addr      netip.AddrPort `json:"address,omitzero"`
	Alternate netip.AddrPort `json:"alternate_address,omitzero"`
	OK        bool           `json:"ok"`
	RTT       Seconds        `json:"rtt_seconds,omitzero"`
	Seen      netip.AddrPort `json:"sees_us_at,omitzero"`
	Error     string         `json:"error,omitempty"`
}

// TargetReport is how a target does.
type TargetReport struct {
	Name       string           `json:"name"`
	Key        domain.PublicKey `json:"key"`
	Record     Record           `json:"record"`
	Connection Connection       `json:"connection"`
	// Secret is one of the constants; empty where none was tried.
	Secret string `json:"secret,omitempty"`
	// Answer is what the target said where it could not say yes or no.
	Answer string `json:"answer,omitempty"`

	target Target
}

// What became of a secret.
const (
	SecretAccepted = "accepted"
	SecretRefused  = "refused"
	SecretUntested = "untested"
)

// Record is what the DHT knows of a key.
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

// Finding is something worth saying, with what to do about it.
type Finding struct {
	// Level is "problem" for what is broken, "warning" for what may break, "note" for what is good to know.
	Level string `json:"level"`
	// Code names the finding for programs. What it is about stands in Target, empty for this machine's network.
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

// stun takes what servers said, early about the main socket.
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

func (r *Report) clock(began, now time.Time, steady time.Duration) {
	r.Machine.Wall = now
	r.Machine.ClockOff = Seconds(now.Round(0).Sub(began.Round(0)) - steady)
}

// text is an error in plain words, empty for none.
func text(err error) string {
	if err == nil {
		return ""
	}
	for _, w := range words {
		if errors.Is(err, w.err) {
			return w.text
		}
	}
	return code.ReplaceAllString(err.Error(), "")
}

// code is what the errors of the protocol begin with.
var code = regexp.MustCompile(`^[A-Z_]+: `)
