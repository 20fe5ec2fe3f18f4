package uplinks

import (
	"errors"
	"slices"

	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Kind is a kind of uplink.
type Kind uint8

// The kinds.
const (
	UDP Kind = iota
	TURN
)

// String returns the kind as in metrics and in the file of what works.
func (k Kind) String() string {
	if k == TURN {
		return "turn"
	}
	return "udp"
}

// Config configures a Transport.
type Config struct {
	Host host.Host
	// UDP makes the transport over UDP. Nil means that there is none: the TURN server is always used.
	UDP func() (ports.Transport, error)
	// TURN opens the uplink over a TURN server. up is called with its transport when that can be used, once; failed with the reason, each
	// time that it cannot. close closes what is below the transport.
	TURN func(up func(ports.Transport), failed func(error)) (close func(done func()), err error)
	// Last is the kind that worked last, and Remember stores it; may be nil.
	Last     Kind
	Remember func(Kind)
	// OnUse is called when an uplink is used from now on; may be nil.
	OnUse func(Kind)
}

// Transport uses one of two uplinks. It implements ports.Transport.
type Transport struct {
	cfg     Config
	udp     uplink
	turn    uplink
	current *uplink // in use; nil while none works yet and there is no UDP
	began   host.Instant
	failure error // of the TURN uplink

	look host.Timer
	hold hold
	over *crossing // to another uplink; nil for none

	waiting   []func() // for the first uplink
	listeners []*listener
	calls     []*call // under way, in the order of their beginning
	dials     []*dial // not open yet
	onMoved   []*func(ports.Move)
	onNetwork []*func(ports.Network)
	silent    bool // reported
	closing   bool
}

// uplink is one of the uplinks.
type uplink struct {
	kind      Kind
	transport ports.Transport // nil until it can be used
	opened    bool            // it is, or is being opened
	close     func(done func())
	silent    bool         // it reported that no DHT node answers
	works     host.Instant // since when nodes answer; zero where none does
	unwatch   []func()
	ending    host.Timer // closes it
}

var _ ports.Transport = (*Transport)(nil)

// ErrNoUplink is the error of what needs a connection while no uplink works.
var ErrNoUplink = errors.New("no TURN server relays yet")

// New opens the uplinks. It fails if the first one cannot be opened.
func New(cfg Config) (*Transport, error) {
	t := &Transport{cfg: cfg, udp: uplink{kind: UDP}, turn: uplink{kind: TURN}, began: cfg.Host.Now()}
	t.hold.needed = minHold
	if cfg.UDP != nil {
		transport, err := cfg.UDP()
		if err != nil {
			return nil, err
		}
		t.udp.opened = true
		t.attach(&t.udp, transport)
		t.current = &t.udp
	}
	t.look = cfg.Host.AfterFunc(interval, t.judge)
	if cfg.UDP == nil || cfg.Last == TURN {
		if err := t.open(); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// attach begins to follow the transport of an uplink.
func (t *Transport) attach(u *uplink, transport ports.Transport) {
	u.transport = transport
	u.unwatch = []func(){
		transport.OnMoved(func(m ports.Move) {
			if u == t.current {
				t.moved(m)
			}
		}),
		transport.OnNetwork(func(n ports.Network) {
			u.silent = !n.Answering
			t.judge()
			t.report(n)
		}),
	}
}

func (t *Transport) moved(m ports.Move) {
	for _, f := range slices.Clone(t.onMoved) {
		(*f)(m)
	}
}

// open opens the uplink over the TURN server.
func (t *Transport) open() (err error) {
	u := &t.turn
	if u.ending != nil { // it is needed after all
		u.ending.Stop()
		u.ending = nil
	}
	if u.opened {
		return nil
	}
	u.opened = true
	closeBelow, err := t.cfg.TURN(func(transport ports.Transport) {
		if t.closing {
			transport.Close(func() {})
			return
		}
		t.failure = nil
		t.attach(u, transport)
		if t.current == nil {
			t.use(u)
		}
	}, func(err error) {
		t.failure = err
		t.report(ports.Network{})
	})
	if err != nil {
		u.opened = false
		return err
	}
	u.close = closeBelow
	return nil
}

// use makes an uplink the one for what comes.
func (t *Transport) use(u *uplink) {
	t.current = u
	waiting := t.waiting
	t.waiting = nil
	for _, f := range waiting {
		f()
	}
	if t.cfg.OnUse != nil {
		t.cfg.OnUse(u.kind)
	}
}

// judge looks at the uplinks, and goes over from one to the other where that is better.
func (t *Transport) judge() {
	if t.closing {
		return
	}
	now := t.cfg.Host.Now()
	t.udp.observe(now)
	t.turn.observe(now)
	switch {
	case t.over != nil, t.cfg.UDP == nil:
	case t.udp.works != 0 && t.current == &t.udp:
		t.shut(&t.turn)
	case t.udp.works != 0 && now.Sub(t.udp.works) >= t.hold.wait(t.turn.works != 0):
		t.goOver(&t.udp)
	case t.turn.works != 0 && t.current != &t.turn && t.udp.works == 0:
		t.hold.failed(now)
		t.goOver(&t.turn)
	case t.udp.works == 0 && now.Sub(t.began) >= patience:
		if err := t.open(); err != nil {
			t.failure = err
		}
	}
	t.look.Stop()
	if t.current != &t.udp || t.udp.works == 0 || t.over != nil {
		t.look = t.cfg.Host.AfterFunc(interval, t.judge)
	}
}

// observe notes whether DHT nodes answer over an uplink.
func (u *uplink) observe(now host.Instant) {
	works := u.transport != nil && !u.silent && u.transport.Status().Nodes > 0
	switch {
	case !works:
		u.works = 0
	case u.works == 0:
		u.works = now
	}
}

// remember stores what works.
func (t *Transport) remember(k Kind) {
	if t.cfg.Remember != nil {
		t.cfg.Remember(k)
	}
}

// report notifies listeners when nothing works, and when something does again.
func (t *Transport) report(n ports.Network) {
	works := t.udp.transport != nil && !t.udp.silent || t.turn.transport != nil && !t.turn.silent
	tries := t.turn.opened && t.failure == nil // and may work in a moment
	if works == !t.silent || !works && tries {
		return
	}
	t.silent = !works
	n.Answering, n.TURN = works, t.failure
	for _, f := range slices.Clone(t.onNetwork) {
		(*f)(n)
	}
}

// OnMoved implements ports.Node.
func (t *Transport) OnMoved(f func(ports.Move)) (cancel func()) {
	listener := &f
	t.onMoved = append(t.onMoved, listener)
	return func() {
		t.onMoved = slices.DeleteFunc(t.onMoved, func(l *func(ports.Move)) bool { return l == listener })
	}
}

// OnNetwork implements ports.Node.
func (t *Transport) OnNetwork(f func(ports.Network)) (cancel func()) {
	listener := &f
	t.onNetwork = append(t.onNetwork, listener)
	if t.silent {
		t.cfg.Host.Post(func() {
			if t.silent && slices.Contains(t.onNetwork, listener) {
				f(ports.Network{TURN: t.failure})
			}
		})
	}
	return func() {
		t.onNetwork = slices.DeleteFunc(t.onNetwork, func(l *func(ports.Network)) bool { return l == listener })
	}
}

// Status implements ports.Node: that of the uplink in use.
func (t *Transport) Status() ports.NodeStatus {
	switch {
	case t.current != nil:
		s := t.current.transport.Status()
		s.Uplink = t.current.kind.String()
		return s
	case t.closing:
		return ports.NodeStatus{State: "closed", Uplink: TURN.String()}
	}
	return ports.NodeStatus{State: "starting", Uplink: TURN.String(), NAT: "unknown", Firewalled: true, Ephemeral: true}
}

// Failure returns why no TURN server relays; nil while one does, and before any was tried.
func (t *Transport) Failure() error { return t.failure }

// Close implements ports.Node.
func (t *Transport) Close(done func()) {
	if t.closing {
		t.cfg.Host.Post(done)
		return
	}
	t.closing = true
	t.look.Stop()
	if t.over != nil {
		t.over.timer.Stop()
	}
	t.waiting = nil
	join := host.NewJoin(func() { t.cfg.Host.Post(done) })
	begun := join.Add()
	for _, u := range []*uplink{&t.udp, &t.turn} {
		if u.ending != nil {
			u.ending.Stop()
		}
		u.end(join.Add())
	}
	begun()
}

// end closes an uplink, from the top.
func (u *uplink) end(done func()) {
	for _, f := range u.unwatch {
		f()
	}
	u.unwatch = nil
	below := func() {
		closeBelow := u.close
		u.close, u.opened = nil, false
		if closeBelow == nil {
			done()
			return
		}
		closeBelow(done)
	}
	if u.transport == nil {
		below()
		return
	}
	transport := u.transport
	u.transport, u.works, u.silent = nil, 0, false
	transport.Close(below)
}
