package stun

import (
	"net/netip"

	"github.com/pion/stun/v2"

	"github.com/dhtprom/dhtprom/ports/host"
)

// ResponderConfig configures a Responder.
type ResponderConfig struct {
	// Host is the public address of this machine, for the attributes RESPONSE-ORIGIN and OTHER-ADDRESS. If it is invalid,
	// the socket's or the machine's first address is used. Clients of this package do not depend on it, others may.
	Host netip.Addr
}

// ResponderStats counts the events of a responder.
type ResponderStats struct {
	Answered  uint64
	Refused   uint64 // requests with unsupported comprehension-required attributes
	Limited   uint64 // not answered because of the rate of a source or of all
	Malformed uint64
	Ignored   uint64 // on other sockets, from unusable addresses, or not requests
}

// Responder answers STUN Binding requests on the two sockets of a node. It implements hyperdht.AddressProbe, without
// probing anything.
type Responder struct {
	h              host.Host
	cfg            ResponderConfig
	server, client host.Socket
	stats          ResponderStats

	window  host.Instant // start of the window
	total   int          // answers in it
	sources map[netip.Addr]int
}

// NewResponder returns a responder. It answers after a node has bound its sockets.
func NewResponder(h host.Host, cfg ResponderConfig) *Responder {
	return &Responder{h: h, cfg: cfg, sources: make(map[netip.Addr]int)}
}

// Stats returns the counters.
func (r *Responder) Stats() ResponderStats { return r.stats }

// Bind implements hyperdht.AddressProbe.
func (r *Responder) Bind(server, client host.Socket) { r.server, r.client = server, client }

// Probe implements hyperdht.AddressProbe; it queries no server.
func (r *Responder) Probe(_ host.Socket, _ func(addr, from netip.AddrPort), done func()) (cancel func()) {
	over := false
	r.h.Defer(func() {
		if !over {
			over = true
			done()
		}
	})
	return func() { over = true }
}

// Receive implements hyperdht.AddressProbe.
func (r *Responder) Receive(s host.Socket, from netip.AddrPort, b []byte) bool {
	if !isSTUN(b) {
		return false
	}
	m, err := parse(b)
	switch {
	case err != nil:
		r.stats.Malformed++
	case m.kind == stun.BindingRequest:
		r.answer(s, from, &m)
	default:
		r.stats.Ignored++
	}
	return true
}

func (r *Responder) answer(s host.Socket, from netip.AddrPort, m *message) {
	other := r.client
	if s == r.client {
		other = r.server
	}
	switch {
	case s == nil || s != r.server && s != r.client || !isUsable(from):
		r.stats.Ignored++
		return
	case !r.admit(from.Addr()):
		r.stats.Limited++
		return
	case len(m.unknown) > 0:
		r.stats.Refused++
		s.Send(from, 0, newRefusal(m))
		return
	}
	r.stats.Answered++
	at := r.addr(s)
	s.Send(from, 0, newAnswer(m.id, from,
		netip.AddrPortFrom(at, s.LocalAddr().Port()), netip.AddrPortFrom(at, other.LocalAddr().Port())))
}

// addr returns the host to name in answers on a socket.
func (r *Responder) addr(s host.Socket) netip.Addr {
	if r.cfg.Host.Is4() {
		return r.cfg.Host
	}
	if local := s.LocalAddr().Addr().Unmap(); local.Is4() && !local.IsUnspecified() {
		return local
	}
	if addrs := r.h.Addrs(); len(addrs) > 0 {
		return addrs[0]
	}
	return netip.IPv4Unspecified()
}

// admit counts an answer to a source and reports whether it may be sent. The window is short, so a source that was forged
// or flooded is served again soon; the number of counted sources is bounded.
func (r *Responder) admit(source netip.Addr) bool {
	now := r.h.Now()
	if r.window == 0 || now.Sub(r.window) >= rateWindow {
		r.window, r.total = now, 0
		clear(r.sources)
	}
	n, known := r.sources[source]
	if r.total >= totalRate || n >= sourceRate || !known && len(r.sources) >= maxSources {
		return false
	}
	r.total++
	r.sources[source] = n + 1
	return true
}

// newAnswer returns a Binding success response, 56 bytes.
func newAnswer(id transactionID, to, origin, other netip.AddrPort) []byte {
	m := stun.New()
	m.Type, m.TransactionID = stun.BindingSuccess, id
	m.WriteHeader()
	// AddTo fails only for addresses of invalid length.
	_ = stun.XORMappedAddress{IP: to.Addr().AsSlice(), Port: int(to.Port())}.AddTo(m)
	_ = (&stun.ResponseOrigin{IP: origin.Addr().AsSlice(), Port: int(origin.Port())}).AddTo(m)
	_ = (&stun.OtherAddress{IP: other.Addr().AsSlice(), Port: int(other.Port())}).AddTo(m)
	return m.Raw
}

// newRefusal returns a Binding error response that lists the unsupported attributes (RFC 8489, section 6.3.1).
func newRefusal(request *message) []byte {
	m := stun.New()
	m.Type, m.TransactionID = stun.BindingError, request.id
	m.WriteHeader()
	_ = stun.ErrorCodeAttribute{Code: stun.CodeUnknownAttribute}.AddTo(m)
	_ = stun.UnknownAttributes(request.unknown).AddTo(m)
	return m.Raw
}
