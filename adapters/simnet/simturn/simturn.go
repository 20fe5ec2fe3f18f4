// Package simturn is a simulated TURN server (RFC 8656) on a simulated machine, over pipes and UDP.
//
// It does what clients see of a real one: long-term credentials with nonces that become stale, allocations with a lifetime, permissions by
// IP address, channels, limits and peers that it forbids. It is strict where real ones are, and counts what clients do wrong.
package simturn

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/pion/stun/v2"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/adapters/simnet/simpipe"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/pipe"
)

const (
	realm = "simturn"
	// permissionLife and channelLife are those of RFC 8656.
	permissionLife = 5 * time.Minute
	channelLife    = 10 * time.Minute
	// allocationLife is the default lifetime of an allocation.
	allocationLife = 10 * time.Minute
	channelHeader  = 4
)

// Config configures a server. The zero Config has no users.
type Config struct {
	Users    map[string]string
	NonceAge time.Duration         // after which a nonce is stale; 0 means never
	Lifetime time.Duration         // of allocations; 0 means 10 min
	Limit    int                   // of allocations of a user; 0 means none
	Forbid   func(netip.Addr) bool // peers; nil means none
	Silent   bool                  // answers nothing
	// SHA256 offers the password algorithm SHA-256, and accepts no other.
	SHA256 bool
	// Alternate is the server to which new clients are referred.
	Alternate netip.AddrPort
	// Code is the error with which it refuses to allocate; 0 means none.
	Code stun.ErrorCode
	// Mismatches are allocations that are refused as if the 5-tuple had one.
	Mismatches int
}

// Stats counts what clients did.
type Stats struct {
	Allocations int // that exist
	Made        int // since the start
	Wrong       int // messages that a correct client does not send
	Unpermitted int // datagrams of peers without permission
	Relayed     int // datagrams, in both directions
	Channels    int // datagrams of clients over channels
}

// Server is a running server. It ends with its machine, or with Kill.
type Server struct {
	net   *simnet.Net
	host  *simnet.Host
	cfg   Config
	stats Stats
	drawn uint64

	listener *simpipe.Listener
	udp      host.Socket
	clients  []*client // in the order of connecting
	down     bool
}

// Start starts a server on a machine, on a port of pipes and of UDP.
func Start(net *simnet.Net, pipes *simpipe.Network, h *simnet.Host, port uint16, cfg Config) *Server {
	if cfg.Lifetime == 0 {
		cfg.Lifetime = allocationLife
	}
	s := &Server{net: net, host: h, cfg: cfg}
	s.listener = pipes.Listen(h, port, s.accept)
	udp, err := h.OpenSocket(netip.AddrPortFrom(h.Addr(), port))
	if err != nil {
		panic("simturn: " + err.Error()) // the scenario has two on one port
	}
	s.udp = udp
	byAddr := map[netip.AddrPort]*client{}
	udp.OnReceive(func(from netip.AddrPort, b []byte) {
		c := byAddr[from]
		if c == nil || c.gone {
			c = s.client(func(b []byte) { udp.Send(from, 0, b) })
			byAddr[from] = c
		}
		c.receive(b)
	})
	return s
}

// SetConfig replaces the configuration, for what comes from now on.
func (s *Server) SetConfig(change func(*Config)) { change(&s.cfg) }

// Stats returns the counts.
func (s *Server) Stats() Stats { return s.stats }

// Kill ends the server: connections break, allocations are gone.
func (s *Server) Kill() {
	if s.down {
		return
	}
	s.down = true
	s.listener.Close()
	s.udp.Close()
	for _, c := range append([]*client(nil), s.clients...) {
		if c.pipe != nil {
			simpipe.Reset(c.pipe)
		}
		c.leave()
	}
}

func (s *Server) client(send func([]byte)) *client {
	c := &client{s: s, send: send, permissions: map[netip.Addr]host.Instant{}, channels: map[uint16]*channel{}, numbers: map[netip.AddrPort]uint16{}}
	s.clients = append(s.clients, c)
	return c
}

func (s *Server) accept(p pipe.Pipe) {
	if s.down {
		p.Close()
		return
	}
	c := s.client(func(b []byte) {
		if n := len(b) % 4; n != 0 {
			b = append(b[:len(b):len(b)], make([]byte, 4-n)...)
		}
		p.Write(b)
	})
	c.pipe = p
	p.Handle(pipe.Handlers{OnReceive: c.stream, OnClose: func(error) { c.leave() }})
}

// client is a 5-tuple, with its allocation if it has one.
type client struct {
	s     *Server
	pipe  pipe.Pipe // nil over UDP
	send  func([]byte)
	rest  []byte // of a stream
	gone  bool
	nonce string
	since host.Instant // of the nonce

	user        string
	sock        host.Socket // nil without an allocation
	expiry      host.Timer
	permissions map[netip.Addr]host.Instant // until when
	channels    map[uint16]*channel
	numbers     map[netip.AddrPort]uint16 // of channels, by peer
}

type channel struct {
	peer  netip.AddrPort
	until host.Instant
}

// leave ends a client and its allocation.
func (c *client) leave() {
	if c.gone {
		return
	}
	c.gone = true
	c.release()
	for i, other := range c.s.clients {
		if other == c {
			c.s.clients = append(c.s.clients[:i:i], c.s.clients[i+1:]...)
			break
		}
	}
}

func (c *client) release() {
	if c.sock == nil {
		return
	}
	c.sock.Close()
	c.sock = nil
	c.expiry.Stop()
	clear(c.permissions)
	clear(c.channels)
	clear(c.numbers)
	c.s.stats.Allocations--
}

// stream separates what comes over a pipe.
func (c *client) stream(b []byte) {
	c.rest = append(c.rest, b...)
	for len(c.rest) >= channelHeader && !c.gone {
		n := int(binary.BigEndian.Uint16(c.rest[2:]))
		size := (channelHeader + n + 3) &^ 3
		if c.rest[0]>>6 == 0 {
			size = 20 + n
		}
		if len(c.rest) < size {
			return
		}
		frame := c.rest[:size]
		c.rest = c.rest[size:]
		c.receive(frame)
	}
}

// receive handles one message.
func (c *client) receive(b []byte) {
	if c.s.cfg.Silent || c.s.down {
		return
	}
	if len(b) >= channelHeader && b[0]>>6 == 1 {
		c.fromChannel(b)
		return
	}
	m := &stun.Message{Raw: bytes.Clone(b)}
	if m.Decode() != nil {
		c.s.stats.Wrong++
		return
	}
	switch {
	case m.Type == stun.BindingRequest:
		c.answer(m, stun.ClassSuccessResponse, nil)
	case m.Type.Class == stun.ClassIndication && m.Type.Method == stun.MethodSend:
		c.fromSend(m)
	case m.Type.Class != stun.ClassRequest:
		c.s.stats.Wrong++
	case c.authorized(m):
		c.request(m)
	}
}

// answer answers a request. A nil signature signs nothing.
func (c *client) answer(m *stun.Message, class stun.MessageClass, signature stun.Setter, attrs ...stun.Setter) {
	setters := []stun.Setter{stun.NewType(m.Type.Method, class), stun.NewTransactionIDSetter(m.TransactionID)}
	setters = append(setters, attrs...)
	if signature != nil {
		setters = append(setters, signature)
	}
	c.send(stun.MustBuild(setters...).Raw)
}

func (c *client) refuse(m *stun.Message, code stun.ErrorCode, attrs ...stun.Setter) {
	c.answer(m, stun.ClassErrorResponse, nil, append([]stun.Setter{stun.ErrorCodeAttribute{Code: code, Reason: []byte("Refused")}}, attrs...)...)
}

// challenge sends the nonce, a new one if there is none or it has become stale: requests that were under way with the former are all answered
// with the same, as coturn does.
func (c *client) challenge(m *stun.Message, code stun.ErrorCode) {
	if c.nonce == "" || c.aged() {
		c.s.drawn++
		c.nonce, c.since = fmt.Sprint("nonce", c.s.drawn), c.s.host.Now()
		if c.s.cfg.SHA256 {
			c.nonce = nonceCookie + c.nonce
		}
	}
	attrs := []stun.Setter{stun.NewRealm(realm)}
	if c.s.cfg.SHA256 {
		attrs = append(attrs, stun.RawAttribute{Type: attrPasswordAlgorithms, Value: algorithms})
	}
	c.refuse(m, code, append(attrs, stun.NewNonce(c.nonce))...)
}

func (c *client) aged() bool {
	return c.s.cfg.NonceAge > 0 && c.s.host.Now().Sub(c.since) > c.s.cfg.NonceAge
}

// authorized checks the credentials of a request, and answers it if they are wrong.
func (c *client) authorized(m *stun.Message) bool {
	var user stun.Username
	var nonce stun.Nonce
	if !m.Contains(c.s.signature()) || user.GetFrom(m) != nil || nonce.GetFrom(m) != nil {
		c.challenge(m, stun.CodeUnauthorized)
		return false
	}
	password, known := c.s.cfg.Users[user.String()]
	if !known || !c.integrity(user.String(), password).signs(m) {
		c.challenge(m, stun.CodeUnauthorized)
		return false
	}
	if nonce.String() != c.nonce || c.aged() {
		c.challenge(m, stun.CodeStaleNonce)
		return false
	}
	c.user = user.String()
	return true
}

func (c *client) integrity(user, password string) integrity {
	if c.s.cfg.SHA256 {
		return newIntegrity256(user, password)
	}
	return integrity1{stun.NewLongTermIntegrity(user, realm, password)}
}

func (c *client) accept(m *stun.Message, attrs ...stun.Setter) {
	c.answer(m, stun.ClassSuccessResponse, c.integrity(c.user, c.s.cfg.Users[c.user]), attrs...)
}

// request carries out an authorized request.
func (c *client) request(m *stun.Message) {
	switch {
	case m.Type.Method == stun.MethodAllocate:
		c.allocate(m)
	case c.sock == nil:
		c.s.stats.Wrong++
		c.refuse(m, stun.CodeAllocMismatch)
	case m.Type.Method == stun.MethodRefresh:
		c.refresh(m)
	case m.Type.Method == stun.MethodCreatePermission:
		c.permit(m)
	case m.Type.Method == stun.MethodChannelBind:
		c.bind(m)
	default:
		c.s.stats.Wrong++
		c.refuse(m, stun.CodeBadRequest)
	}
}

// lifetime is the attribute LIFETIME.
type lifetime time.Duration

// AddTo implements stun.Setter.
func (l lifetime) AddTo(m *stun.Message) error {
	m.Add(stun.AttrLifetime, binary.BigEndian.AppendUint32(nil, uint32(time.Duration(l)/time.Second)))
	return nil
}

// address is an address in an attribute.
type address struct {
	kind stun.AttrType
	at   netip.AddrPort
}

// AddTo implements stun.Setter.
func (a address) AddTo(m *stun.Message) error {
	return stun.XORMappedAddress{IP: a.at.Addr().AsSlice(), Port: int(a.at.Port())}.AddToAs(m, a.kind)
}

func (c *client) allocate(m *stun.Message) {
	if v, err := m.Get(stun.AttrRequestedTransport); err != nil || len(v) != 4 || v[0] != 17 {
		c.s.stats.Wrong++
		c.refuse(m, stun.CodeBadRequest)
		return
	}
	same := 0
	for _, other := range c.s.clients {
		if other.sock != nil && other.user == c.user {
			same++
		}
	}
	switch {
	case c.s.cfg.Alternate.IsValid():
		c.refuse(m, stun.CodeTryAlternate, alternate(c.s.cfg.Alternate))
		return
	case c.s.cfg.Code != 0:
		c.refuse(m, c.s.cfg.Code)
		return
	case c.s.cfg.Mismatches > 0:
		c.s.cfg.Mismatches--
		c.refuse(m, stun.CodeAllocMismatch)
		return
	case c.sock != nil:
		c.refuse(m, stun.CodeAllocMismatch)
		return
	case c.s.cfg.Limit > 0 && same >= c.s.cfg.Limit:
		c.refuse(m, stun.CodeAllocQuotaReached)
		return
	}
	sock, err := c.s.host.OpenSocket(netip.AddrPortFrom(c.s.host.Addr(), 0))
	if err != nil {
		c.refuse(m, stun.CodeInsufficientCapacity)
		return
	}
	c.sock = sock
	sock.OnReceive(c.fromPeer)
	c.s.stats.Allocations++
	c.s.stats.Made++
	c.expiry = c.s.host.AfterFunc(c.s.cfg.Lifetime, c.release)
	c.accept(m, address{stun.AttrXORRelayedAddress, sock.LocalAddr()}, lifetime(c.s.cfg.Lifetime))
}

func (c *client) refresh(m *stun.Message) {
	d := c.s.cfg.Lifetime
	if v, err := m.Get(stun.AttrLifetime); err == nil && len(v) == 4 {
		d = min(d, time.Duration(binary.BigEndian.Uint32(v))*time.Second)
	}
	c.accept(m, lifetime(d))
	if d == 0 {
		c.release()
		return
	}
	c.expiry.Reset(d)
}

// peers returns the addresses XOR-PEER-ADDRESS of a message.
func peers(m *stun.Message) (list []netip.AddrPort) {
	for _, a := range m.Attributes {
		if a.Type != stun.AttrXORPeerAddress {
			continue
		}
		one := &stun.Message{TransactionID: m.TransactionID, Attributes: stun.Attributes{a}}
		var x stun.XORMappedAddress
		if x.GetFromAs(one, stun.AttrXORPeerAddress) != nil {
			return nil
		}
		ip, _ := netip.AddrFromSlice(x.IP)
		list = append(list, netip.AddrPortFrom(ip.Unmap(), uint16(x.Port)))
	}
	return list
}

func (c *client) forbids(a netip.Addr) bool { return c.s.cfg.Forbid != nil && c.s.cfg.Forbid(a) }

func (c *client) permit(m *stun.Message) {
	list := peers(m)
	if len(list) == 0 {
		c.s.stats.Wrong++
		c.refuse(m, stun.CodeBadRequest)
		return
	}
	for _, p := range list {
		if c.forbids(p.Addr()) {
			c.refuse(m, stun.CodeForbidden)
			return
		}
	}
	for _, p := range list {
		c.permissions[p.Addr()] = c.s.host.Now().Add(permissionLife)
	}
	c.accept(m)
}

func (c *client) bind(m *stun.Message) {
	list := peers(m)
	v, err := m.Get(stun.AttrChannelNumber)
	if err != nil || len(v) != 4 || len(list) != 1 {
		c.s.stats.Wrong++
		c.refuse(m, stun.CodeBadRequest)
		return
	}
	number, peer, now := binary.BigEndian.Uint16(v), list[0], c.s.host.Now()
	if c.forbids(peer.Addr()) {
		c.refuse(m, stun.CodeForbidden)
		return
	}
	for n, ch := range c.channels {
		// A number and its peer belong together until five minutes after the end of the channel.
		if now.Before(ch.until.Add(permissionLife)) && (n == number) != (ch.peer == peer) {
			c.s.stats.Wrong++
			c.refuse(m, stun.CodeBadRequest)
			return
		}
	}
	if old := c.channels[number]; old != nil {
		delete(c.numbers, old.peer)
	}
	c.numbers[peer] = number
	c.channels[number] = &channel{peer, now.Add(channelLife)}
	c.permissions[peer.Addr()] = now.Add(permissionLife)
	c.accept(m)
}

// relay sends a datagram to a peer.
func (c *client) relay(to netip.AddrPort, b []byte) {
	if c.sock == nil || !c.s.host.Now().Before(c.permissions[to.Addr()]) {
		return // real servers drop it without a word
	}
	c.s.stats.Relayed++
	c.sock.Send(to, 0, b)
}

func (c *client) fromSend(m *stun.Message) {
	data, err := m.Get(stun.AttrData)
	if list := peers(m); err == nil && len(list) == 1 {
		c.relay(list[0], data)
		return
	}
	c.s.stats.Wrong++
}

func (c *client) fromChannel(b []byte) {
	number, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
	ch := c.channels[number]
	if ch == nil || n > len(b)-channelHeader || !c.s.host.Now().Before(ch.until) {
		c.s.stats.Wrong++
		return
	}
	c.s.stats.Channels++
	c.relay(ch.peer, b[channelHeader:channelHeader+n])
}

// fromPeer sends a datagram of a peer to the client.
func (c *client) fromPeer(from netip.AddrPort, b []byte) {
	now := c.s.host.Now()
	if !now.Before(c.permissions[from.Addr()]) {
		c.s.stats.Unpermitted++
		return
	}
	c.s.stats.Relayed++
	if number, known := c.numbers[from]; known && now.Before(c.channels[number].until) {
		frame := binary.BigEndian.AppendUint16(nil, number)
		frame = binary.BigEndian.AppendUint16(frame, uint16(len(b)))
		c.send(append(frame, b...))
		return
	}
	c.s.drawn++
	var id [stun.TransactionIDSize]byte
	binary.BigEndian.PutUint64(id[4:], c.s.drawn)
	m := stun.MustBuild(stun.NewType(stun.MethodData, stun.ClassIndication), stun.NewTransactionIDSetter(id),
		address{stun.AttrXORPeerAddress, from}, stun.RawAttribute{Type: stun.AttrData, Value: b})
	c.send(m.Raw)
}
