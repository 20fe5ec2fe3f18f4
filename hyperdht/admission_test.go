package hyperdht_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// deferred is a server that decides later, with one caller.
type deferred struct {
	*lab
	asked  []*hyperdht.Admission
	over   []error // of these
	dialed *hyperdht.Connection
	ended  error
}

func newDeferred(t *testing.T) *deferred {
	t.Helper()
	l := newLab(t, 4, open(), open())
	d := &deferred{lab: l}
	l.listen(hyperdht.ListenOptions{AdmitLater: func(a *hyperdht.Admission) {
		d.asked = append(d.asked, a)
		a.OnOver(func(err error) { d.over = append(d.over, err) })
	}})
	d.dialed = l.dial(hyperdht.ConnectOptions{})
	l.dialler.host.Do(func() { d.dialed.OnClose(func(err error) { d.ended = err }) })
	if !l.net.RunUntil(func() bool { return len(d.asked) > 0 }, time.Minute) {
		t.Fatal("the application is not asked")
	}
	return d
}

func (d *deferred) onLoop(f func()) { d.answerer.host.Do(f) }

func (d *deferred) blocked() uint64 { return d.answerer.node.Status().Peering.HandshakesBlocked }

func TestAdmissionMayBeDecidedLater(t *testing.T) {
	d := newDeferred(t)
	d.run(2 * time.Second)
	if n := size(d.answerer.node, "callers"); n != 1 || d.dialed.Opened() || len(d.asked) != 1 {
		t.Fatalf("before the decision: %d callers, opened %v, asked %d times", n, d.dialed.Opened(), len(d.asked))
	}
	a := d.asked[0]
	if a.Remote != keysOf(diallerKey).Public || a.From.Addr() != d.dialler.host.Addr() || a.Payload == nil || a.Payload.UDX == nil {
		t.Errorf("%+v", a)
	}
	d.onLoop(func() {
		a.Accept()
		a.Reject() // decided already
	})
	d.run(time.Minute)
	if !d.dialed.Opened() || d.blocked() != 0 || len(d.over) != 0 {
		t.Errorf("accepted: opened %v, closed with %v, %d blocked, over with %v", d.dialed.Opened(), d.ended, d.blocked(), d.over)
	}
}

func TestAdmissionRejectedLater(t *testing.T) {
	d := newDeferred(t)
	d.run(time.Second)
	d.onLoop(func() {
		d.asked[0].Reject()
		d.asked[0].Accept()
	})
	d.run(time.Minute)
	if d.dialed.Opened() || d.ended == nil || d.blocked() != 1 || size(d.answerer.node, "callers") != 0 || len(d.over) != 0 {
		t.Errorf("rejected: opened %v, closed with %v, %d blocked, over with %v", d.dialed.Opened(), d.ended, d.blocked(), d.over)
	}
}

func TestAdmissionThatIsNotDecidedIsARejection(t *testing.T) {
	d := newDeferred(t)
	d.run(hyperdht.AdmissionPatience - 100*time.Millisecond)
	if d.blocked() != 0 {
		t.Fatal("rejected too early")
	}
	d.run(200 * time.Millisecond)
	if d.blocked() != 1 || size(d.answerer.node, "callers") != 0 || len(d.over) != 1 || !errors.Is(d.over[0], hyperdht.ErrTimeout) {
		t.Errorf("%d blocked, %d callers, over with %v", d.blocked(), size(d.answerer.node, "callers"), d.over)
	}
	d.onLoop(d.asked[0].Accept)
	d.run(time.Minute)
	if d.dialed.Opened() {
		t.Error("accepted too late, and connected")
	}
}

func TestAdmissionByAServerThatIsGone(t *testing.T) {
	for name, leave := range map[string]func(d *deferred){
		"closed":    func(d *deferred) { d.server.Close(nil) },
		"suspended": func(d *deferred) { d.answerer.node.Suspend(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDeferred(t)
			d.onLoop(func() { leave(d) })
			d.onLoop(d.asked[0].Accept)
			d.run(10 * time.Second)
			if d.dialed.Opened() || size(d.answerer.node, "callers") != 0 || len(d.over) != 1 || !errors.Is(d.over[0], hyperdht.ErrConnectionClosed) {
				t.Errorf("opened %v, %d callers, over with %v", d.dialed.Opened(), size(d.answerer.node, "callers"), d.over)
			}
		})
	}
}

func TestAdmissionMayBeDecidedAtOnce(t *testing.T) {
	for _, accept := range []bool{true, false} {
		l := newLab(t, 4, open(), open())
		l.listen(hyperdht.ListenOptions{AdmitLater: func(a *hyperdht.Admission) {
			if accept {
				a.Accept()
			} else {
				a.Reject()
			}
		}})
		c := l.dial(hyperdht.ConnectOptions{})
		l.run(10 * time.Second)
		if c.Opened() != accept {
			t.Errorf("accepted %v, opened %v", accept, c.Opened())
		}
	}
}

// A relay invents callers faster than they are decided. The number of those that wait is bounded, each that loses its place is reported,
// and counted, and honest callers are decided on and connect: beside the flood, and after it.
func TestDecisionsAreBoundedInAFlood(t *testing.T) {
	const maxCallers, perTurn = 1024, 4 // a dropped one is reported at the end of the turn
	w := newWorld(t, 8, simnet.Config{Seed: 73})
	router := w.net.AddRouter("server's router", simnet.FullCone(), netip.AddrFrom4([4]byte{81, 2, 3, 1}))
	sh := router.AddHost("server", netip.AddrFrom4([4]byte{192, 168, 7, 2}))
	sn := w.node(sh, hyperdht.Config{})
	w.until("the server is ready", time.Minute, sn.Ready)
	honest := map[id.PublicKey]bool{}
	waiting, most := 0, 0
	over := map[error]int{}
	server := w.listen(sh, sn, hyperdht.ListenOptions{Keys: flooded, AdmitLater: func(a *hyperdht.Admission) {
		waiting++
		most = max(most, waiting)
		a.OnOver(func(err error) {
			waiting--
			over[err]++
			a.Accept() // too late
		})
		if honest[a.Remote] { // others are never decided
			sh.AfterFunc(200*time.Millisecond, func() {
				waiting--
				a.Accept()
			})
		}
	}})
	var clients []*simnet.Host
	var nodes []*hyperdht.Node
	for i := range 6 {
		r := w.net.AddRouter(fmt.Sprintf("router-%d", i), simnet.PortRestricted(), netip.AddrFrom4([4]byte{82, byte(i), 3, 1}))
		h := r.AddHost(fmt.Sprintf("client-%d", i), netip.AddrFrom4([4]byte{192, 168, 7, 2}))
		n := w.node(h, hyperdht.Config{})
		w.until("a client is ready", time.Minute, n.Ready)
		clients, nodes = append(clients, h), append(nodes, n)
	}
	dialled, opened := 0, 0
	dial := func() {
		i := dialled % len(clients)
		dialled++
		keys := id.KeyPairFromSeed(id.Seed{2, byte(dialled)})
		honest[keys.Public] = true
		clients[i].Do(func() {
			nodes[i].Connect(server.PublicKey(), hyperdht.ConnectOptions{Keys: &keys}).OnOpen(func() { opened++ })
		})
		w.net.Run(125 * time.Millisecond)
	}

	f := w.as(server.Relays()[len(server.Relays())-1])
	at, flooding := sn.Status().Public, true
	var next func()
	next = func() {
		if flooding {
			f.send(at, f.invented())
			w.net.AfterFunc(time.Millisecond, next)
		}
	}
	next()
	w.net.Run(4 * time.Second) // until paces, queue and room are used up
	for range 24 {
		dial()
	}
	w.net.Run(3 * time.Second)
	stats := sn.Status().Peering.Refused
	if opened != dialled || most < maxCallers/2 || most > maxCallers+perTurn || over[hyperdht.ErrCrowdedOut] < 500 {
		t.Errorf("%d of %d dials opened, up to %d callers waited, over: %v; %+v", opened, dialled, most, over, stats)
	}
	if int(stats.Undecided) != over[hyperdht.ErrCrowdedOut] || stats.Share < stats.Undecided {
		t.Errorf("%d are counted, %d were reported: %+v", stats.Undecided, over[hyperdht.ErrCrowdedOut], stats)
	}

	flooding = false
	w.net.Run(hyperdht.AdmissionPatience + time.Second)
	if n := size(sn, "callers"); n != 0 || waiting != 0 {
		t.Errorf("%d callers, %d decisions are left", n, waiting)
	}
	before := sn.Status().Peering.Refused.Undecided
	for range 12 {
		dial()
	}
	w.net.Run(time.Second)
	if stats := sn.Status().Peering.Refused; opened != dialled || stats.Undecided != before {
		t.Errorf("after the flood: %d of %d dials opened, %+v", opened, dialled, stats)
	}
}
