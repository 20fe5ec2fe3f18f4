package rpc

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

func TestUnansweredRequestIsSentFourTimesAndFailsAfterFourSeconds(t *testing.T) {
	l := newLab(t, Config{})
	p := l.peer(silent)
	o, done := l.outcome()
	l.net.Run(time.Second) // bootstrapping without nodes is over
	start := l.net.Now()
	l.do(func() { l.Request(RequestOptions{To: p.addr, Command: wire.CmdFindPeer, Value: []byte("v")}, done) })
	l.net.Run(time.Minute)
	if len(p.got) != 4 {
		t.Fatalf("%d packets arrived, want 4", len(p.got))
	}
	for i, a := range p.got {
		if a.packet != p.got[0].packet {
			t.Errorf("packet %d differs from the first", i)
		}
		if want := start + time.Duration(i)*RequestTimeout + delay; a.at != want {
			t.Errorf("packet %d arrived at %v, want %v", i, a.at, want)
		}
	}
	if o.calls != 1 || !errors.Is(o.err, ErrTimeout) || o.at != start+4*RequestTimeout {
		t.Errorf("failed %d times with %v at %v", o.calls, o.err, o.at)
	}
	if s := l.Stats().Requests; s.Active != 0 || s.Timeouts != 1 || s.Retries != 3 {
		t.Errorf("stats %+v", s)
	}
}

func TestRetriesAndTimeoutsCanBeChosen(t *testing.T) {
	tests := []struct {
		name    string
		out     RequestOptions
		packets int
		fails   time.Duration
	}{
		{"no retry", RequestOptions{Retries: NoRetry}, 1, time.Second},
		{"five retries", RequestOptions{Retries: 5}, 6, 6 * time.Second},
		{"forced requests are not retried", RequestOptions{Force: true, Retries: 5}, 1, time.Second},
		{"longer timeout keeps the retries", RequestOptions{Timeout: 2 * time.Second}, 4, 8 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, Config{})
			p := l.peer(silent)
			o, done := l.outcome()
			tt.out.To = p.addr
			l.do(func() { l.Request(tt.out, done) })
			l.net.Run(time.Minute)
			if len(p.got) != tt.packets || o.at != tt.fails || !errors.Is(o.err, ErrTimeout) {
				t.Errorf("%d packets, %v at %v", len(p.got), o.err, o.at)
			}
		})
	}
}

func TestReplyCarriesWhatWasAnswered(t *testing.T) {
	l := newLab(t, Config{})
	token := id.Token{1, 2, 3}
	p := l.peer(func(wire.Request) *wire.Response {
		return &wire.Response{
			Token: &token, Closer: []netip.AddrPort{client}, Error: wire.CodeSeqTooLow, Value: []byte("value"),
		}
	})
	o, done := l.outcome()
	l.do(func() { l.Request(RequestOptions{To: p.addr, Command: 9, Target: &id.Target{7}}, done) })
	l.net.Run(time.Second)
	r := o.reply
	if o.err != nil || r.From != p.addr || r.To != netip.AddrPortFrom(us.Addr(), l.ClientSocket().LocalAddr().Port()) ||
		r.Socket != l.ClientSocket() || !r.HasID || r.ID != id.NodeIDOf(p.addr) || *r.Token != token ||
		!slices.Equal(r.Closer, []netip.AddrPort{client}) || r.Error != wire.CodeSeqTooLow ||
		string(r.Value) != "value" || r.RTT != 2*delay {
		t.Errorf("reply %+v, %v", r, o.err)
	}
}

// An answer counts from the address that was asked, on whichever socket it arrives: answers to PING_NAT come to another one.
func TestAnswersCountFromTheAddressAskedOnly(t *testing.T) {
	l := newLab(t, Config{})
	p, q := l.peer(silent), l.peer(silent)
	samePort := l.peerAt(netip.AddrPortFrom(p.addr.Addr(), 1), silent)
	o, done := l.outcome()
	l.do(func() { l.Request(RequestOptions{To: p.addr, Command: 2}, done) })
	l.net.Run(10 * time.Millisecond)
	for _, other := range []*peer{q, samePort} {
		other.host.Do(func() { other.respond(p.got[0].request, p.got[0].from, &wire.Response{}) })
	}
	l.net.Run(10 * time.Millisecond)
	if o.calls != 0 || l.Stats().Dropped.Unexpected != 2 {
		t.Fatalf("a stranger's answer: called %d times with %+v, %+v", o.calls, o.reply, l.Stats().Dropped)
	}
	p.host.Do(func() { p.respond(p.got[0].request, l.atServer(), &wire.Response{}) })
	l.net.Run(10 * time.Millisecond)
	if o.err != nil || o.reply.From != p.addr || o.reply.Socket != l.ServerSocket() {
		t.Errorf("reply %+v, %v", o.reply, o.err)
	}
	p.host.Do(func() { p.respond(p.got[0].request, l.atServer(), &wire.Response{}) })
	l.net.Run(10 * time.Millisecond)
	if o.calls != 1 || l.Stats().Dropped.Unexpected != 3 {
		t.Errorf("second answer: called %d times, %+v", o.calls, l.Stats().Dropped)
	}
}

// A router that is asked for its own public address leads to a host behind it, which answers from its private address.
func TestAnswersFromBehindTheSameRouterCount(t *testing.T) {
	l := newLab(t, Config{})
	public, private := l.peerAt(netip.MustParseAddrPort("8.8.4.4:49737"), silent), l.peer(silent)
	o, done := l.outcome()
	l.do(func() { l.Request(RequestOptions{To: public.addr, Command: 2}, done) })
	l.net.Run(10 * time.Millisecond)
	private.host.Do(func() { private.respond(public.got[0].request, public.got[0].from, &wire.Response{}) })
	l.net.Run(10 * time.Millisecond)
	if o.calls != 1 || o.err != nil || o.reply.From != private.addr {
		t.Errorf("called %d times: %+v, %v", o.calls, o.reply, o.err)
	}
}

// Ids have 16 bits. A stranger that sends answers with all of them ends no request, and no own request that it sends back
// with all of them makes a node's address count as the local one.
func TestStrangersEndNoRequests(t *testing.T) {
	l := newLab(t, Config{})
	p, stranger := l.peer(silent), l.peer(silent)
	o, done := l.outcome()
	l.do(func() { l.Ping(p.addr, nil, nil, done) })
	l.net.Run(10 * time.Millisecond)
	m := p.got[0].request
	for tid := range 1 << 16 {
		m.TID = uint16(tid)
		stranger.respond(m, p.got[0].from, &wire.Response{})
		if tid%1000 == int(p.got[0].request.TID)%1000 { // others are beyond the pace of one host
			stranger.sock.Send(p.got[0].from, 0, m.Append(nil))
		}
	}
	l.net.Run(100 * time.Millisecond)
	if o.calls != 0 || len(l.Self()) != 0 {
		t.Errorf("called %d times with %+v, %v; own addresses %v", o.calls, o.reply, o.err, l.Self())
	}
}

func TestWindowHoldsBackRequestsUntilItDrains(t *testing.T) {
	l := newLab(t, Config{})
	l.net.Run(time.Second)
	p := l.peer(silent)
	forced := l.peer(silent)
	l.do(func() {
		for range 100 {
			l.Request(RequestOptions{To: p.addr, Command: 2, Retries: NoRetry, Timeout: time.Minute}, nil)
		}
		l.Request(RequestOptions{To: forced.addr, Command: 2, Force: true}, nil)
	})
	l.net.Run(10 * time.Millisecond)
	if len(p.got) != windowMax || len(forced.got) != 1 {
		t.Errorf("%d requests and %d forced ones left at once, want %d and 1", len(p.got), len(forced.got), windowMax)
	}
	l.net.Run(drainInterval)
	if len(p.got) != 100 {
		t.Errorf("%d requests left after a drain, want 100", len(p.got))
	}
}

func TestAnswersMakeRoomForWhatWaits(t *testing.T) {
	l := newLab(t, Config{})
	l.net.Run(time.Second)
	const requests = 10 * windowMax
	flying, most, answered := 0, 0, 0
	p := l.peer(func(wire.Request) *wire.Response {
		flying++
		most = max(most, flying)
		return &wire.Response{}
	})
	began, last := l.net.Now(), time.Duration(0)
	l.do(func() {
		for range requests {
			l.Request(RequestOptions{To: p.addr, Command: 2}, func(Reply, error) {
				flying--
				answered++
				last = l.net.Now()
			})
		}
	})
	l.net.Run(time.Minute)
	// Ten windows, each a round trip of 2 ms; the drain interval alone would take 6.75 s.
	if took := last - began; answered != requests || took > drainInterval {
		t.Errorf("%d of %d requests are answered after %v", answered, requests, took)
	}
	if most > windowMax {
		t.Errorf("%d requests were under way at a time, %d are allowed", most, windowMax)
	}
}

func TestCanceledRequestsThatWaitMakeNoRoom(t *testing.T) {
	l := newLab(t, Config{})
	l.net.Run(time.Second)
	p := l.peer(silent)
	l.do(func() {
		s := l.NewCallGroup()
		for i := range 4 * windowMax {
			out := RequestOptions{To: p.addr, Command: 2, Timeout: time.Minute}
			if i >= windowMax && i < 2*windowMax {
				out.Group = s
			}
			l.Request(out, nil)
		}
		s.Cancel()
	})
	l.net.Run(10 * time.Millisecond)
	if len(p.got) != windowMax {
		t.Errorf("%d requests have left, want %d", len(p.got), windowMax)
	}
}

func TestRequestsThatFollowFromAnAnswerGoFirst(t *testing.T) {
	l := newLab(t, Config{})
	l.net.Run(time.Second)
	p := l.peer(empty)
	l.do(func() {
		for range 2 * windowMax {
			l.Request(RequestOptions{To: p.addr, Command: 2}, nil)
		}
		l.Request(RequestOptions{To: p.addr, Command: 3, Follows: true}, nil)
	})
	l.net.Run(time.Second)
	if at := slices.Index(p.commands(), 3); at != windowMax || len(p.got) != 2*windowMax+1 {
		t.Errorf("it left after %d requests of %d, want after the %d that did not wait", at, len(p.got), windowMax)
	}
}

func TestQueuedRequestsKeepTheirOrderAndSkipCanceledOnes(t *testing.T) {
	l := newLab(t, Config{})
	l.net.Run(time.Second)
	p := l.peer(silent)
	var calls []*Call
	l.do(func() {
		for i := range windowMax + 4 {
			calls = append(calls, l.Request(RequestOptions{To: p.addr, Command: uint64(i), Retries: NoRetry, Timeout: time.Minute}, nil))
		}
		calls[windowMax+1].Cancel()
	})
	before := l.net.Stats().Sent
	l.net.Run(drainInterval + 10*time.Millisecond)
	if n := l.net.Stats().Sent - before; n != 3 {
		t.Errorf("%d packets left the queue, want 3", n)
	}
	got := p.commands()[windowMax:]
	if want := []uint64{windowMax, windowMax + 2, windowMax + 3}; !slices.Equal(got, want) {
		t.Errorf("queued requests left as %v, want %v", got, want)
	}
}

func TestCancelOfACallGroupFailsItsCallsInOrderAtTheEndOfTheTurn(t *testing.T) {
	l := newLab(t, Config{})
	p := l.peer(silent)
	var failed []int
	l.do(func() {
		s, other := l.NewCallGroup(), l.NewCallGroup()
		for i := range 6 {
			group := s
			if i == 2 {
				group = other
			}
			l.Request(RequestOptions{To: p.addr, Command: 2, Group: group}, func(_ Reply, err error) {
				if !errors.Is(err, ErrCanceled) {
					t.Errorf("call %d: %v", i, err)
				}
				failed = append(failed, i)
			})
		}
		l.calls.table.get(l.calls.table.next - 3).Cancel() // number 3
		s.Cancel()
		if failed != nil {
			t.Error("callback inside Cancel")
		}
	})
	l.net.Run(0)
	if !slices.Equal(failed, []int{3, 0, 1, 4, 5}) {
		t.Errorf("failed in order %v", failed)
	}
	if l.Stats().Requests.Active != 1 {
		t.Errorf("%d active, want the other group's", l.Stats().Requests.Active)
	}
}

func TestCanceledCallGroupsDoNotCountAgainstTheWindow(t *testing.T) {
	l := newLab(t, Config{})
	l.net.Run(time.Second)
	p := l.peer(silent)
	l.do(func() {
		s := l.NewCallGroup()
		for i := range windowMax {
			out := RequestOptions{To: p.addr, Command: 2}
			if i%2 == 0 {
				out.Group = s
			}
			l.Request(out, nil)
		}
		if !l.calls.window.full() {
			t.Error("window is not full")
		}
		s.Cancel()
	})
	// Each counts twice, as in the reference implementation.
	if l.calls.window.total != 0 {
		t.Errorf("window counts %d", l.calls.window.total)
	}
}

func TestCallbackMayCloseTheEndpoint(t *testing.T) {
	l := newLab(t, Config{})
	p := l.peer(silent)
	var errs []error
	l.do(func() {
		for range 3 {
			l.Request(RequestOptions{To: p.addr, Command: 2, Retries: NoRetry}, func(_ Reply, err error) {
				errs = append(errs, err)
				l.Close()
			})
		}
	})
	l.net.Run(time.Minute)
	if len(errs) != 3 || errs[0] != ErrTimeout || errs[1] != ErrClosed || errs[2] != ErrClosed {
		t.Errorf("errors %v", errs)
	}
	if l.host.Timers() != 0 || l.host.Sockets() != 0 {
		t.Errorf("%d timers and %d sockets left", l.host.Timers(), l.host.Sockets())
	}
}

func TestRequestOnClosedEndpointFailsAtTheEndOfTheTurn(t *testing.T) {
	l := newLab(t, Config{})
	o, done := l.outcome()
	l.do(func() {
		l.Close()
		l.Close()
		c := l.Request(RequestOptions{To: client}, done)
		if o.calls != 0 {
			t.Error("callback inside Request")
		}
		defer c.Cancel()
	})
	l.net.Run(0)
	if o.calls != 1 || !errors.Is(o.err, ErrClosed) {
		t.Errorf("called %d times, %v", o.calls, o.err)
	}
}

func TestTooManyRequestsAreRefused(t *testing.T) {
	l := newLab(t, Config{})
	var busy int
	l.do(func() {
		for range maxCalls + 5 {
			l.Request(RequestOptions{To: client}, func(_ Reply, err error) {
				if errors.Is(err, ErrBusy) {
					busy++
				}
			})
		}
	})
	l.net.Run(0)
	if busy != 5 || l.calls.table.n != maxCalls {
		t.Errorf("%d refused, %d waiting", busy, l.calls.table.n)
	}
}

func TestTransactionIDsWrapAndAreNotReusedWhileTheyWait(t *testing.T) {
	var table callTable
	table.next = 65530
	old := new(Call)
	table.add(old)
	for range 200000 {
		c := new(Call)
		if !table.add(c) {
			t.Fatal("table is full")
		}
		if c.seat.tid == old.seat.tid {
			t.Fatal("id given out twice")
		}
		if table.get(c.seat.tid) != c || table.get(old.seat.tid) != old {
			t.Fatal("call not found")
		}
		table.remove(c)
	}
	if len(table.slots) != minSlots {
		t.Errorf("%d slots for two calls", len(table.slots))
	}
}

func TestDeadlinesComeInOrder(t *testing.T) {
	var table callTable
	r := uint32(1)
	var calls []*Call
	for range 500 {
		c := new(Call)
		table.add(c)
		r = r*1664525 + 1013904223
		table.schedule(c, host.Instant(r%1000))
		calls = append(calls, c)
	}
	for i, c := range calls {
		switch i % 3 {
		case 0:
			table.remove(c)
		case 1:
			table.schedule(c, c.seat.deadline+500)
		}
	}
	var last host.Instant
	for c := table.first(); c != nil; c = table.first() {
		if c.seat.deadline < last {
			t.Fatalf("deadline %v after %v", c.seat.deadline, last)
		}
		last = c.seat.deadline
		table.remove(c)
	}
	if table.n != 0 {
		t.Errorf("%d calls left", table.n)
	}
}

func TestDelayedPingIsAnsweredAfterTheDelay(t *testing.T) {
	s := newLab(t, Config{})
	q := s.peer(silent)
	var got []time.Duration
	q.sock.OnReceive(func(_ netip.AddrPort, b []byte) {
		if wire.IsResponse(b) {
			got = append(got, s.net.Now())
		}
	})
	for _, d := range []time.Duration{3 * time.Second, 10 * time.Second, 10001 * time.Millisecond} {
		q.host.Do(func() {
			q.ask(s.atServer(), wire.Request{
				Internal: true, Command: wire.CmdDelayedPing, Value: wire.DelayedPing{Delay: d}.Append(nil),
			})
		})
	}
	s.net.Run(4 * time.Second)
	if len(got) != 1 || got[0] != 3*time.Second+2*delay {
		t.Errorf("answers at %v, want one after 3 s", got)
	}
	s.net.Run(time.Minute)
	if len(got) != 2 || got[1] != 10*time.Second+2*delay {
		t.Errorf("answers at %v, want a second after 10 s, and no third", got)
	}
	if len(s.answering.delayed) != 0 {
		t.Errorf("%d delayed pings left", len(s.answering.delayed))
	}
}

func TestDelayedPingsAreBounded(t *testing.T) {
	s := newLab(t, Config{})
	q := s.peer(silent)
	q.host.Do(func() {
		for range maxDelayedPings + 3 {
			q.ask(s.atServer(), wire.Request{
				Internal: true, Command: wire.CmdDelayedPing, Value: wire.DelayedPing{Delay: time.Second}.Append(nil),
			})
		}
	})
	s.net.Run(10 * time.Millisecond)
	if len(s.answering.delayed) != maxDelayedPings || s.Stats().Dropped.Busy != 3 {
		t.Errorf("%d wait, dropped %+v", len(s.answering.delayed), s.Stats().Dropped)
	}
}

func TestDelayedPingWaitsForTheDelayAndASecond(t *testing.T) {
	l := newLab(t, Config{})
	p := l.peer(silent)
	o, done := l.outcome()
	long, longDone := l.outcome()
	l.do(func() {
		l.DelayedPing(p.addr, 2500*time.Millisecond, nil, nil, done)
		l.DelayedPing(p.addr, 10001*time.Millisecond, nil, nil, longDone)
	})
	l.net.Run(time.Minute)
	if len(p.got) != 4 || o.err != ErrTimeout || o.at != 4*3500*time.Millisecond {
		t.Errorf("%d packets, %v at %v", len(p.got), o.err, o.at)
	}
	if v, err := wire.ParseDelayedPing(p.got[0].request.Value); err != nil || v.Delay != 2500*time.Millisecond {
		t.Errorf("asked for %v, %v", v, err)
	}
	if long.err != ErrPingDelay {
		t.Errorf("too long a delay: %v", long.err)
	}
}

func TestAdaptiveTimeoutFollowsRoundTrips(t *testing.T) {
	// Values from running npm adaptive-timeout with these round trips and a jitter of zero.
	var a adaptiveTimeout
	if got := a.get(client, 1, 0); got != 250*time.Millisecond {
		t.Errorf("unknown address, first attempt: %v", got)
	}
	if got := a.get(client, 9, 10); got != 4010*time.Millisecond {
		t.Errorf("unknown address, ninth attempt: %v", got)
	}
	for _, rtt := range []time.Duration{200, 280, 120} {
		a.put(0, client, rtt*time.Millisecond)
	}
	// 200/100, 210/95, 198/93 (average/variance)
	if got := a.get(client, 1, 0); got != 384*time.Millisecond {
		t.Errorf("known address, first attempt: %v", got)
	}
	if got := a.get(client, 50, 0); got != 4*time.Second {
		t.Errorf("known address, fiftieth attempt: %v", got)
	}
	a.put(host.Instant(adaptiveAge), us, time.Millisecond)
	if _, ok := a.find(client); !ok {
		t.Error("forgotten after one generation")
	}
	a.put(host.Instant(2*adaptiveAge), us, time.Millisecond)
	if _, ok := a.find(client); ok {
		t.Error("remembered after two generations")
	}
}

func TestAdaptiveTimeoutShortensRetries(t *testing.T) {
	l := newLab(t, Config{AdaptiveTimeout: true})
	p := l.peer(empty)
	for range 3 {
		l.do(func() { l.Ping(p.addr, nil, nil, nil) })
		l.net.Run(time.Second)
	}
	p.answer = silent
	o, done := l.outcome()
	start := l.net.Now()
	l.do(func() { l.Ping(p.addr, nil, nil, done) })
	l.net.Run(time.Minute)
	if took := o.at - start; took < 4*adaptiveMin*time.Millisecond || took > 4*(adaptiveMin+adaptiveJitter)*time.Millisecond {
		t.Errorf("gave up after %v", took)
	}
}
