package hyperdht_test

import (
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
)

// deferred is a server that decides later, with one caller.
type deferred struct {
	*lab
	asked  []*hyperdht.Admission
	dialed *hyperdht.Connection
	ended  error
}

func newDeferred(t *testing.T) *deferred {
	t.Helper()
	l := newLab(t, 4, open(), open())
	d := &deferred{lab: l}
	l.listen(hyperdht.ListenOptions{AdmitLater: func(a *hyperdht.Admission) { d.asked = append(d.asked, a) }})
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
	d.run(time.Second)
	if !d.dialed.Opened() || d.blocked() != 0 {
		t.Errorf("accepted: opened %v, closed with %v, %d blocked", d.dialed.Opened(), d.ended, d.blocked())
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
	if d.dialed.Opened() || d.ended == nil || d.blocked() != 1 || size(d.answerer.node, "callers") != 0 {
		t.Errorf("rejected: opened %v, closed with %v, %d blocked", d.dialed.Opened(), d.ended, d.blocked())
	}
}

func TestAdmissionThatIsNotDecidedIsARejection(t *testing.T) {
	d := newDeferred(t)
	d.run(hyperdht.AdmissionPatience - 100*time.Millisecond)
	if d.blocked() != 0 {
		t.Fatal("rejected too early")
	}
	d.run(200 * time.Millisecond)
	if d.blocked() != 1 || size(d.answerer.node, "callers") != 0 {
		t.Errorf("%d blocked, %d callers", d.blocked(), size(d.answerer.node, "callers"))
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
			if d.dialed.Opened() || size(d.answerer.node, "callers") != 0 {
				t.Errorf("opened %v, %d callers", d.dialed.Opened(), size(d.answerer.node, "callers"))
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
