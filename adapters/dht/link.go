package dht

import (
	"net/netip"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/mux"
	"github.com/dhtprom/dhtprom/ports/host"
)

// conn is the part of a hyperdht.Connection that links use.
type conn interface {
	mux.Pipe
	// OnOpen sets who is told that the other side has proven that it is there, before anything else of it.
	OnOpen(func())
	// Close ends the connection after what was sent has arrived, and soon whatever the other side does.
	Close()
	// OnStart sets who is told that there is a path and a handshake hash, before anything of the other side.
	OnStart(func())
	// HandshakeHash is the same on both sides and nowhere else; zero before there is a path.
	HandshakeHash() [64]byte
	// Answered reports whether the other side has answered the handshake.
	Answered() bool
	RemotePublicKey() id.PublicKey
	RemoteAddr() netip.AddrPort
	Path() hyperdht.Path
	// DirectSilence is for how long nothing has come on the direct path, where a relay has taken over.
	DirectSilence() time.Duration
	// OnPath sets what runs when packets to the other side begin to take another path.
	OnPath(func())
	// Trust lifts the limits on what the other side can make this node hold.
	Trust()
	// Unsent is what everything sent takes until the other side has acknowledged it, in bytes.
	Unsent() int
}

var _ conn = (*hyperdht.Connection)(nil)

// link is a connection with the roles on it. It ends when the last role leaves.
//
//	connecting ── encryption is up ─▶ open ── last role left ─▶ ending ── both sides ended ─▶ closed
//	    └──────────────────────────────┴────────── the connection broke ─────────────────────▶ ┘
type link struct {
	host  host.Host
	conn  conn
	mux   *mux.Mux
	roles []role // in the order they joined

	incoming bool // the other side has dialled
	open     bool
	ending   bool // this side has ended it
	clean    bool // without a reason
	closed   bool
	// starting wait for the handshake hash.
	starting []func()
	// proven is a key that the other side has proven to hold, by an offer; zero for none. It may be the one it
	// dialled under.
	proven domain.PublicKey
	// dedicated means that the other side has turned down a metrics channel here: not worth another try.
	dedicated bool
	// answers shares out the memory for metrics served here.
	answers *answers
	// onClose is for whoever keeps account of links; nil is allowed.
	onClose func()
}

// role is one use of a link. Its methods are called in a turn of their own or of the connection's, never inside a
// call of the application.
type role interface {
	// opened says that the encryption is up. A role that joins an open link is not told.
	opened()
	// closed is the last call. err is nil when both sides ended the connection.
	closed(err error)
}

// newLink takes a connection over, which need not be open. Join the first role in the same turn.
func newLink(h host.Host, c conn) *link {
	l := &link{host: h, conn: c, mux: mux.New(c), answers: newAnswers(h)}
	c.OnStart(l.onStart)
	c.OnOpen(l.onOpen)
	c.OnPath(l.onPath)
	l.mux.OnClose(l.onDown)
	return l
}

func (l *link) onStart() {
	starting := l.starting
	l.starting = nil
	for _, f := range starting {
		f()
	}
}

// whenStarted calls f once there is a handshake hash, at once if there is one.
func (l *link) whenStarted(f func()) {
	if l.conn.HandshakeHash() != [64]byte{} {
		f()
		return
	}
	l.starting = append(l.starting, f)
}

// offers reports whether the other side has offered the metrics of a key on this connection. That it dialled under
// the key is no offer: the originals hang up when they have registered, whatever key they use.
func (l *link) offers(key domain.PublicKey) bool { return !key.IsZero() && l.proven == key }

func (l *link) onOpen() {
	l.open = true
	for _, r := range slices.Clone(l.roles) {
		if slices.Contains(l.roles, r) {
			r.opened()
		}
	}
}

func (l *link) onPath() {
	for _, r := range slices.Clone(l.roles) {
		if s, ok := r.(*session); ok {
			s.onPath()
		}
	}
}

func (l *link) onDown(err error) {
	l.closed = true
	if l.clean {
		err = nil // how the other side takes our end does not matter any more
	}
	roles := l.roles
	l.roles = nil
	for _, r := range roles {
		r.closed(err)
	}
	if l.onClose != nil {
		l.onClose()
	}
}

// join adds a role.
func (l *link) join(r role) { l.roles = append(l.roles, r) }

// shared reports whether a role has company.
func (l *link) shared(r role) bool {
	return slices.ContainsFunc(l.roles, func(o role) bool { return o != r })
}

// leave removes a role, which hears nothing more. The last one ends the connection: cleanly when reason is nil, at
// once otherwise.
func (l *link) leave(r role, reason error) {
	i := slices.Index(l.roles, r)
	if i < 0 {
		return
	}
	l.roles = slices.Delete(l.roles, i, i+1)
	if len(l.roles) == 0 {
		l.end(reason)
	}
}

// sayingGoodbye finds a metrics server whose goodbyes wait for their answer.
func (l *link) sayingGoodbye() *metricsServer {
	for _, r := range l.roles {
		if m, ok := r.(*metricsServer); ok && m.goodbyes > 0 {
			return m
		}
	}
	return nil
}

// end ends the connection; roles that are still on it are told when it is over. A caller that has not proven itself was sent
// nothing that could matter to it, and may never answer, so its connection ends at once.
func (l *link) end(reason error) {
	l.ending = true
	switch {
	case l.closed:
	case reason == nil && l.incoming && !l.open:
		l.clean = true
		l.mux.Destroy(domain.ErrClosed)
	case reason == nil:
		l.clean = true
		l.conn.Close()
	default:
		l.mux.Destroy(reason)
	}
}

// peer describes the other side.
func (l *link) peer() domain.Peer {
	return domain.Peer{
		Key:  domain.PublicKey(l.conn.RemotePublicKey()),
		Addr: l.conn.RemoteAddr(),
		Path: pathFrom(l.conn.Path()),
	}
}
