package rpc

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

func TestDefaultCommitRepeatsTheCommandWithTheToken(t *testing.T) {
	l := newLab(t, Config{})
	token := id.Token{9}
	stored := 0
	p := l.peer(func(m wire.Request) *wire.Response {
		if m.Token == nil {
			return &wire.Response{Token: &token}
		}
		if *m.Token == token && *m.Target == target && string(m.Value) == "v" && m.Command == wire.CmdImmutablePut {
			stored++
		}
		return &wire.Response{}
	})
	r := l.query(QueryConfig{
		Nodes: []netip.AddrPort{p.addr}, Command: wire.CmdImmutablePut, Value: []byte("v"), CommitDefault: true,
	})
	l.net.Run(time.Minute)
	if r.err != nil || stored != 1 || r.done != 1 {
		t.Errorf("%v, stored %d times", r.err, stored)
	}
}

func TestCommitOutcomes(t *testing.T) {
	first, second := errors.New("first"), errors.New("second")
	tests := []struct {
		name    string
		seeds   int
		results []error
		want    error
	}{
		{"no answers", 0, nil, ErrTooFewNodes},
		{"all succeed", 2, []error{nil, nil}, nil},
		{"one success is enough, early", 2, []error{nil, first}, nil},
		{"one success is enough, late", 2, []error{first, nil}, nil},
		{"the last error counts", 2, []error{first, second}, second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, Config{})
			peers := byDistance(l.peersOf(tt.seeds, empty))
			results := tt.results
			r := l.query(QueryConfig{Nodes: addrs(peers), Commit: func(r *Reply, done func(error)) {
				err := results[0]
				results = results[1:]
				l.host.AfterFunc(time.Duration(len(tt.results)-len(results))*time.Second, func() {
					done(err)
					done(nil) // a second verdict counts for nothing
				})
			}})
			l.net.Run(time.Minute)
			if r.done != 1 || r.err != tt.want || len(results) != 0 {
				t.Errorf("done %d times: %v, want %v; %d not committed", r.done, r.err, tt.want, len(results))
			}
		})
	}
}

func TestDefaultCommitNeedsAToken(t *testing.T) {
	l := newLab(t, Config{})
	p := l.peer(empty)
	r := l.query(QueryConfig{Nodes: []netip.AddrPort{p.addr}, CommitDefault: true})
	l.net.Run(time.Minute)
	if !errors.Is(r.err, ErrNoToken) {
		t.Errorf("%v, want ErrNoToken", r.err)
	}
}

func TestBrokenOffQueriesAreDoneOnce(t *testing.T) {
	tests := []struct {
		name     string
		breakOff func(*lab, *result, *CallGroup)
		want     error
	}{
		{"destroyed", func(_ *lab, r *result, _ *CallGroup) { r.Destroy(); r.Destroy() }, ErrCanceled},
		{"group cancelled", func(_ *lab, _ *result, s *CallGroup) { s.Cancel() }, ErrCanceled},
		{"closed", func(l *lab, _ *result, _ *CallGroup) { l.Close() }, ErrClosed},
		{"suspended", func(l *lab, _ *result, _ *CallGroup) { l.Suspend() }, ErrSuspended},
	}
	for _, tt := range tests {
		for _, when := range []struct {
			name  string
			after time.Duration
		}{{"before it starts", -1}, {"while it asks", 10 * time.Millisecond}, {"while it commits", 1500 * time.Millisecond}} {
			if when.after < 0 && tt.want == ErrSuspended {
				continue // it then waits until the endpoint is resumed
			}
			t.Run(tt.name+" "+when.name, func(t *testing.T) {
				l := newLab(t, Config{})
				peers := l.peersOf(3, silent)
				peers[0].answer = empty
				var s *CallGroup
				l.do(func() { s = l.NewCallGroup() })
				var r *result
				committed := func(error) {}
				cfg := QueryConfig{
					Nodes: addrs(peers), Group: s, Retries: NoRetry,
					Commit: func(_ *Reply, done func(error)) { committed = done },
				}
				if when.after < 0 {
					l.do(func() {
						r = new(result)
						cfg.Target, cfg.OnDone = target, func(err error) { r.err = err; r.done++ }
						r.Query = l.Query(cfg)
						tt.breakOff(l, r, s)
						if r.done != 0 {
							t.Error("callback inside the breaking call")
						}
					})
				} else {
					r = l.query(cfg)
					l.net.Run(when.after)
					l.do(func() { tt.breakOff(l, r, s) })
				}
				l.net.Run(time.Minute)
				if when.name == "while it commits" && tt.name != "destroyed" {
					// What is being committed is the committer's; the query ends when that does.
					l.do(func() { committed(tt.want) })
				}
				l.net.Run(time.Minute)
				if r.done != 1 || r.err != tt.want {
					t.Errorf("done %d times, %v", r.done, r.err)
				}
				if l.Stats().Queries.Active > 1 { // resuming is not asked for; bootstrapping is over
					t.Errorf("%d queries active", l.Stats().Queries.Active)
				}
			})
		}
	}
}

func TestHostileNodesCannotKeepAQueryGoing(t *testing.T) {
	l := newLab(t, Config{})
	p := l.peer(nil)
	n := 0
	p.answer = func(wire.Request) *wire.Response {
		m := &wire.Response{}
		for range 200 {
			n++
			m.Closer = append(m.Closer, netip.AddrPortFrom(netip.AddrFrom4([4]byte{11, byte(n >> 16), byte(n >> 8), byte(n)}), 1))
		}
		return m
	}
	seeds := []netip.AddrPort{p.addr}
	for port := range uint16(400) {
		q := l.peerAt(netip.AddrPortFrom(p.addr.Addr(), port+1), p.answer)
		q.named = false // the result never fills, so every node is closer
		seeds = append(seeds, q.addr)
	}
	r := l.query(QueryConfig{Nodes: seeds, Retries: NoRetry})
	most := 0
	for range 2000 {
		l.net.Run(time.Second)
		if r.done == 1 {
			break
		}
		most = max(most, r.candidates.seen.n)
	}
	if r.done != 1 || most > maxCandidates {
		t.Errorf("done %d times, up to %d candidates", r.done, most)
	}
	for _, m := range r.Closest() {
		if len(m.Closer) > maxCloser || cap(m.Closer) > 2*maxCloser {
			t.Fatalf("a reply keeps %d nodes", cap(m.Closer))
		}
	}
}
