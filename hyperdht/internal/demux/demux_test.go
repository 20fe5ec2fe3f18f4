package demux

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/internal/cost"
	"github.com/dhtprom/dhtprom/ports/host"
)

var from = netip.MustParseAddrPort("100.64.0.1:4000")

// The datagrams of each kind.
var (
	request  = wire.Request{TID: 7, To: from, Internal: true, Command: wire.CmdPing}.Append(nil)
	response = wire.Response{TID: 7, To: from}.Append(nil)
	packet   = udx.Header{Flags: udx.FlagHeartbeat, StreamID: 9}.Append(nil)
	binding  = append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 12)...) // a STUN request without attributes
)

// receivers records the receiver of each datagram. The named ones claim the datagrams passed to them.
type receivers struct {
	got    []string
	claims string
}

func (r *receivers) note(who string) bool {
	r.got = append(r.got, who)
	return strings.Contains(r.claims, who)
}

type (
	streams struct{ *receivers }
	address struct{ *receivers }
)

func (s streams) Receive(host.Socket, netip.AddrPort, []byte) bool { return s.note("streams") }
func (a address) Receive(host.Socket, netip.AddrPort, []byte) bool { return a.note("address") }

func (r *receivers) ReceiveRequest(host.Socket, netip.AddrPort, []byte)    { r.note("request") }
func (r *receivers) ReceiveResponse(host.Socket, netip.AddrPort, []byte)   { r.note("response") }
func (r *receivers) Drop(host.Socket, netip.AddrPort)                      { r.note("drop") }
func (r *receivers) ReceiveProbe(host.Socket, netip.AddrPort, []byte) bool { return r.note("probes") }

func (r *receivers) door() *Door {
	return &Door{Streams: streams{r}, Address: address{r}, Messages: r, Probes: r}
}

// socket keeps its receiver.
type socket struct {
	host.Socket
	receive func(netip.AddrPort, []byte)
}

func (s *socket) OnReceive(f func(netip.AddrPort, []byte)) { s.receive = f }

// attached returns the function that receives from a socket attached to d.
func attached(d *Door) func(netip.AddrPort, []byte) {
	s := &socket{}
	d.Attach(s)
	return s.receive
}

func TestEachDatagramGoesToItsReceiver(t *testing.T) {
	for _, test := range []struct {
		name   string
		b      []byte
		kind   Kind
		claims string // receivers that consume what they are passed
		want   string // receivers that are called, in this order
	}{
		{"request", request, Request, "streams address probes", "request"},
		{"response", response, Response, "streams address probes", "response"},
		{"packet of a stream", packet, Stream, "streams address probes", "streams"},
		{"packet of an unknown stream", packet, Stream, "", "streams address drop"},
		{"packet of an unknown stream that is an answer to an address probe", packet, Stream, "address", "streams address"},
		{"STUN", binding, Other, "streams address probes", "address"},
		{"STUN without a waiting request", binding, Other, "probes", "address drop"},
		{"punching probe", []byte{0}, Probe, "streams probes", "address probes"},
		{"punching probe to another socket", []byte{0}, Probe, "", "address probes drop"},
		{"one byte that begins a request", request[:1], Probe, "probes", "address probes"},
		{"one byte that begins a packet", packet[:1], Probe, "probes", "address probes"},
		{"nothing", nil, Probe, "probes", "address probes"},
		{"two bytes of a request", request[:2], Request, "", "request"},
		{"two bytes of a response", response[:2], Response, "", "response"},
		{"a packet without its last byte", packet[:len(packet)-1], Other, "streams probes", "address drop"},
		{"a packet of another version", slices.Concat(packet[:1], []byte{2}, packet[2:]), Other, "streams probes", "address drop"},
		{"a request of another version", slices.Concat([]byte{0x02}, request[1:]), Other, "streams probes", "address drop"},
		{"two bytes of nothing", []byte{0, 0}, Other, "probes", "address drop"},
	} {
		r := &receivers{claims: test.claims}
		if kind := Classify(test.b); kind != test.kind {
			t.Errorf("%s: kind %d, want %d", test.name, kind, test.kind)
		}
		attached(r.door())(from, test.b)
		if got := strings.Join(r.got, " "); got != test.want {
			t.Errorf("%s: shown to %q, want %q", test.name, got, test.want)
		}
	}
}

func TestNoAddressProbeIsNeeded(t *testing.T) {
	r := &receivers{}
	d := r.door()
	d.Address = nil
	attached(d)(from, binding)
	if !slices.Equal(r.got, []string{"drop"}) {
		t.Errorf("shown to %q", r.got)
	}
}

func TestReceivingAllocatesNothing(t *testing.T) {
	r := &receivers{claims: "streams", got: make([]string, 0, 1000)}
	receive := attached(r.door())
	if n := testing.AllocsPerRun(100, func() { receive(from, packet) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// What parses as a message of one kind is classified as that, and each datagram has one receiver at the end.
func FuzzClassify(f *testing.F) {
	for _, b := range [][]byte{request, response, packet, binding, {0}, nil, packet[:19]} {
		f.Add(b)
	}
	target := id.Target{1}
	f.Add(wire.Request{TID: 1, To: from, Command: 3, Target: &target, Value: []byte("x")}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var kind Kind
		var r *receivers
		cost.Repeat(t, func() {
			work := cost.Start(t, cost.Bound{Steps: 200, Bytes: 4 << 10})
			defer work.Stop()
			work.Allow(len(b))
			kind, r = Classify(b), &receivers{claims: "streams probes"}
			attached(r.door())(from, b)
		})
		if _, err := wire.ParseRequest(b); err == nil && kind != Request {
			t.Errorf("a request is of kind %d", kind)
		}
		var m wire.Response
		if err := m.Parse(b); err == nil && kind != Response {
			t.Errorf("a response is of kind %d", kind)
		}
		if _, err := udx.ParsePacket(b); err == nil && kind != Stream {
			t.Errorf("a packet is of kind %d", kind)
		}
		if want := map[Kind]string{Request: "request", Response: "response", Stream: "streams", Probe: "probes", Other: "drop"}[kind]; len(r.got) == 0 || r.got[len(r.got)-1] != want {
			t.Errorf("kind %d is shown to %q", kind, r.got)
		}
	})
}
