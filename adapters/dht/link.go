package dht

import (
	"net/netip"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht/muxscrape"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/mux"
	"github.com/dhtprom/dhtprom/ports/host"
)

// conn is the part of a hyperdht.Connection that links use.
type conn interface {
	mux.Pipe
	// OnOpen sets the handler that runs when the first packet of the peer has proven its key, before any of its data.
	OnOpen(func())
	// Close closes the connection after sent data has arrived, or after a timeout.
	Close()
	// OnStart sets the handler that runs when there are a path and a handshake hash, before any data of the peer.
	OnStart(func())
	// HandshakeHash is the same on both sides and unique to the connection; zero before there is a path.
	HandshakeHash() [64]byte
	// Answered reports whether the peer has answered the handshake.
	Answered() bool
	RemotePublicKey() id.PublicKey
	RemoteAddr() netip.AddrPort
	Path() hyperdht.Path
	// DirectSilence returns the time since the last packet on the direct path after a relay has taken over, else 0.
	DirectSilence() time.Duration
	// OnPath sets the handler that runs when packets to the peer start to take another path.
	OnPath(func())
	// Trust lifts the limits on memory that the peer can make this node allocate.
	Trust()
	// Detour returns why a relay carries the connection.
	Detour() hyperdht.Detour
	// Stats returns measurements of the packets.
	Stats() hyperdht.ConnectionStats
	// Idle reports whether the peer has acknowledged everything, and no message of it is arriving.
	Idle() bool
	// Unsent returns the memory of sent data that the peer has not acknowledged, in bytes.
	Unsent() int
}

var _ conn = (*hyperdht.Connection)(nil)

// link is a connection with the roles on it. It ends when the last role leaves. Its states are in doc.go.
type link struct {
	host  host.Host
	conn  conn
	mux   *mux.Mux
	roles []role // in the order they joined

	incoming bool // dialled by the peer
	open     bool
	ending   bool         // closed by this side
	ended    host.Instant // when that began
	clean    bool         // without a reason
	closed   bool
	// starting are functions that wait for the handshake hash.
	starting []func()
	// proven is the key that the peer has proven to hold by an offer; zero for none. It may be the one it dialled under.
	proven domain.PublicKey
	// dedicated means that the peer has rejected or closed a metrics channel on this link, so none is opened again.
	dedicated bool
	// answers limits the memory for metrics served here.
	answers *answers
	// windows limits the memory for responses to scrapes that are read here.
	windows *muxscrape.Windows
	// sets limits the memory for sets of targets that are received here.
	sets *setMemory
	// version of this program, which scrapers get.
	version string
	turn    bool // Config.TURN
	// onClose is called when the link has closed; nil is allowed.
	onClose func()
}

// role is one use of a link. Its methods run in a turn of their own or of the connection's, never inside a call of the
// application.
type role interface {
	// opened is called when the encryption is established. It is not called for a role that joins an open link.
	opened()
	// closed is the last call. err is nil when both sides closed the connection.
	closed(err error)
}

// newLink takes ownership of a connection, which need not be open. The first role must join in the same turn.
func newLink(h host.Host, c conn) *link {
	l := &link{host: h, conn: c, mux: mux.New(c), answers: newAnswers(h), windows: &muxscrape.Windows{}, sets: &setMemory{}}
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

// whenStarted calls f when there is a handshake hash, immediately if there is one.
func (l *link) whenStarted(f func()) {
	if l.conn.HandshakeHash() != [64]byte{} {
		f()
		return
	}
	l.starting = append(l.starting, f)
}

// offers reports whether the peer has offered the metrics of a key on this connection. Dialling under the key is no offer:
// the reference implementation hangs up after registering, whatever key it uses.
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
		err = nil // how the peer closes does not matter after a clean end of this side
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

// shared reports whether the link has other roles than r.
func (l *link) shared(r role) bool {
	return slices.ContainsFunc(l.roles, func(o role) bool { return o != r })
}

// leave removes a role, which gets no further calls. The last one closes the connection: cleanly when reason is nil,
// immediately otherwise.
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

// sayingGoodbye returns a metrics server with unanswered goodbyes, or nil.
func (l *link) sayingGoodbye() *metricsServer {
	for _, r := range l.roles {
		if m, ok := r.(*metricsServer); ok && len(m.goodbyes) > 0 {
			return m
		}
	}
	return nil
}

// end closes the connection; the closed methods of remaining roles are called when it has closed. The connection of a caller
// that has not proven its key is closed immediately: it was sent nothing of importance, and may never answer.
func (l *link) end(reason error) {
	if !l.ending {
		l.ending, l.ended = true, l.host.Now()
	}
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

// peer describes the remote side.
func (l *link) peer() domain.Peer {
	p := domain.Peer{
		Key:  domain.PublicKey(l.conn.RemotePublicKey()),
		Addr: l.conn.RemoteAddr(),
		Path: pathFrom(l.conn.Path()),
	}
	if l.turn && p.Path != domain.PathUnknown && p.Path != domain.PathRelay {
		p.Path = domain.PathTURN
	}
	return p
}
