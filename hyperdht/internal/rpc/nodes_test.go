package rpc

import (
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/kad"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

// learned puts a peer into the endpoint's table as if it had just been heard from.
func (l *lab) learned(p *peer) *kad.Node {
	l.t.Helper()
	l.do(func() { l.learn(true, id.NodeIDOf(p.addr), p.addr, us) })
	n := l.nodes.table.Get(id.NodeIDOf(p.addr))
	if n == nil {
		l.t.Fatal("node was not added")
	}
	return n
}

func (l *lab) knows(p *peer) bool { return l.nodes.table.Get(id.NodeIDOf(p.addr)) != nil }

func TestKnownNodesAreSampledEveryHalfHour(t *testing.T) {
	l := newLab(t, Config{})
	p := l.peer(empty)
	n := l.learned(p)
	if l.address.sampler.Len() != 1 {
		t.Fatalf("%d samples from a new node", l.address.sampler.Len())
	}
	hear := func(sample bool) { l.do(func() { l.learn(sample, n.ID, p.addr, us) }) }
	hear(true)
	l.nodes.tick += oldNode - 1
	hear(true)
	if l.address.sampler.Len() != 1 {
		t.Errorf("%d samples within half an hour", l.address.sampler.Len())
	}
	l.nodes.tick++
	hear(false)
	if l.address.sampler.Len() != 1 {
		t.Error("sampled what did not arrive on the main socket")
	}
	if n.Seen != l.nodes.tick || n.Pinged != l.nodes.tick {
		t.Error("hearing from a node was not noted")
	}
	hear(true)
	if l.address.sampler.Len() != 2 {
		t.Errorf("%d samples after half an hour", l.address.sampler.Len())
	}
}

func TestAnswersWithoutIDAreSampledOnlyOncePerBootstrapNode(t *testing.T) {
	l := newLab(t, Config{Bootstrap: []Bootstrap{{Addr: addrOf(100), Port: 1}, {Addr: addrOf(101), Port: 1}}})
	for i := range 4 {
		p := l.peer(empty)
		p.named = false
		for range 2 {
			l.do(func() { l.Ping(p.addr, nil, nil, nil) })
			l.net.Run(10 * time.Millisecond)
		}
		if want := min(i+1, 2); l.address.sampler.Len() != want {
			t.Errorf("after %d answerers: %d samples, want %d", i+1, l.address.sampler.Len(), want)
		}
		if i == 0 { // it may answer the probe, too
			l.do(func() { l.AddSample(l.ClientSocket(), netip.AddrPortFrom(us.Addr(), 1000), p.addr) })
			if l.address.sampler.Len() != 1 {
				t.Errorf("%d samples of one bootstrap node", l.address.sampler.Len())
			}
		}
	}
	if l.Len() != 0 {
		t.Errorf("%d nodes without id in the table", l.Len())
	}
}

func TestRequestsWithoutIDTeachNothing(t *testing.T) {
	l := newLab(t, Config{})
	p := l.peer(empty)
	p.named = false
	p.host.Do(func() { p.ask(l.atServer(), wire.Request{Internal: true, Command: wire.CmdPing}) })
	l.net.Run(time.Second)
	if l.Len() != 0 || l.address.sampler.Len() != 0 {
		t.Errorf("%d nodes, %d samples", l.Len(), l.address.sampler.Len())
	}
}

func TestFilteredNodesStayOutOfTheTable(t *testing.T) {
	var refused netip.AddrPort
	l := newLab(t, Config{FilterNode: func(a netip.AddrPort) bool { return a != refused }})
	p, q := l.peer(empty), l.peer(empty)
	refused = p.addr
	for _, x := range []*peer{p, q} {
		l.do(func() { l.Ping(x.addr, nil, nil, nil) })
	}
	l.net.Run(time.Second)
	if l.knows(p) || !l.knows(q) || l.address.sampler.Len() != 1 {
		t.Errorf("filtered %v, admitted %v, %d samples", l.knows(p), l.knows(q), l.address.sampler.Len())
	}
}

func TestDownHintsAreChecked(t *testing.T) {
	tests := []struct {
		name   string
		answer func(wire.Request) *wire.Response
		named  bool
		stays  bool
	}{
		{name: "silent node goes", answer: silent},
		{name: "node that has become ephemeral goes", answer: empty},
		// In the reference implementation it would go if it had been seen in the same tick.
		{name: "living node stays", answer: empty, named: true, stays: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, Config{})
			p, q := l.peer(tt.answer), l.peer(silent)
			n := l.learned(p)
			p.named, q.named = tt.named, false
			answered := 0
			q.sock.OnReceive(func(netip.AddrPort, []byte) { answered++ })
			hint := wire.Request{Internal: true, Command: wire.CmdDownHint, Value: wire.DownHint{Node: p.addr}.Append(nil)}
			q.host.Do(func() { q.ask(l.atServer(), hint); q.ask(l.atServer(), hint) })
			l.net.Run(4500 * time.Millisecond)
			if l.knows(p) != tt.stays || n.DownHints != 1 || answered != 2 || l.nodes.checks != 0 {
				t.Errorf("known %v, %d hints counted, %d answered, %d checks", l.knows(p), n.DownHints, answered, l.nodes.checks)
			}
		})
	}
}

func TestChecksBecauseOfDownHintsAreBounded(t *testing.T) {
	l := newLab(t, Config{})
	q := l.peer(silent)
	q.named = false
	for range 15 {
		p := l.peer(silent)
		l.learned(p)
		q.host.Do(func() {
			q.ask(l.atServer(), wire.Request{Internal: true, Command: wire.CmdDownHint, Value: wire.DownHint{Node: p.addr}.Append(nil)})
		})
	}
	l.net.Run(10 * time.Millisecond)
	if l.nodes.checks != maxChecks {
		t.Errorf("%d checks, want %d", l.nodes.checks, maxChecks)
	}
	l.net.Run(10 * time.Second)
	if l.Len() != 5 || l.nodes.checks != 0 {
		t.Errorf("%d nodes left, %d checks", l.Len(), l.nodes.checks)
	}
}

// bucket makes peers that share a bucket with each other.
func (l *lab) bucket(index, n int, answer func(wire.Request) *wire.Response) []*peer {
	var list []*peer
	for i := 1; len(list) < n; i++ {
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{11, 0, byte(i >> 8), byte(i)}), DefaultPort)
		if l.nodes.table.BucketIndex(id.NodeIDOf(addr)) == index {
			list = append(list, l.peerAt(addr, answer))
		}
	}
	return list
}

func TestFullBucketGivesThePlaceOfADeadNodeToTheNewcomer(t *testing.T) {
	const young, old = 100, 500 // ticks
	tests := []struct {
		name    string
		silent  bool // the node that was contacted least recently
		pinged  kad.Tick
		added   kad.Tick
		command uint64 // that the newcomer sends
		swapped bool
		pings   int
	}{
		{"dead", true, recentNode, young, wire.CmdFindNode, true, 4},
		{"alive", false, recentNode, young, wire.CmdFindNode, false, 1},
		{"dead, contacted lately, young", true, recentNode - 1, young, wire.CmdFindNode, true, 4},
		{"dead, contacted lately, but old", true, recentNode - 1, old, wire.CmdFindNode, false, 0},
		{"dead, contacted in this tick", true, 0, young, wire.CmdFindNode, false, 0},
		{"dead, the newcomer checks its own bucket", true, recentNode, young, wire.CmdPing, false, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, Config{})
			l.net.Run(time.Second)
			l.nodes.tick += 1000
			peers := l.bucket(0, kad.K+1, empty)
			members, newcomer := peers[:kad.K], peers[kad.K]
			for _, p := range members {
				l.learned(p)
			}
			oldest := members[7]
			if tt.silent {
				oldest.answer = silent
			}
			n := l.nodes.table.Get(id.NodeIDOf(oldest.addr))
			n.Pinged, n.Seen, n.Added = l.nodes.tick-tt.pinged, l.nodes.tick-tt.pinged, l.nodes.tick-tt.added
			newcomer.host.Do(func() {
				newcomer.ask(l.atServer(), wire.Request{Internal: true, Command: tt.command, Target: new(id.Target)})
			})
			l.net.Run(4500 * time.Millisecond)
			if l.knows(newcomer) != tt.swapped || l.knows(oldest) == tt.swapped || len(oldest.got) != tt.pings {
				t.Errorf("newcomer %v, old node %v, %d pings", l.knows(newcomer), l.knows(oldest), len(oldest.got))
			}
			if l.nodes.swaps != 0 || l.Len() != kad.K || l.nodes.list.Len() != l.nodes.table.Len() {
				t.Errorf("%d swaps, %d nodes in the table, %d in the list", l.nodes.swaps, l.nodes.table.Len(), l.nodes.list.Len())
			}
		})
	}
}

// fullBucket makes a full bucket of nodes that were not heard from for a while, and strangers that belong there.
func (l *lab) fullBucket(index, strangers int, answer func(wire.Request) *wire.Response) (members, others []*peer) {
	peers := l.bucket(index, kad.K+strangers, answer)
	for _, p := range peers[:kad.K] {
		n := l.learned(p)
		n.Pinged -= 100
		n.Seen -= 100
	}
	return peers[:kad.K], peers[kad.K:]
}

func TestAtMostThreeBucketPlacesAreContestedAtATime(t *testing.T) {
	l := newLab(t, Config{})
	l.net.Run(time.Second)
	l.nodes.tick += 1000
	var newcomers []*peer
	for index := range maxSwaps + 2 {
		_, strangers := l.fullBucket(index, 1, silent)
		newcomers = append(newcomers, strangers...)
	}
	l.do(func() {
		for _, p := range newcomers {
			l.learn(true, id.NodeIDOf(p.addr), p.addr, us)
		}
	})
	if l.nodes.swaps != maxSwaps {
		t.Errorf("%d swaps, want %d", l.nodes.swaps, maxSwaps)
	}
	l.net.Run(4500 * time.Millisecond)
	places := 0
	for _, p := range newcomers {
		if l.knows(p) {
			places++
		}
	}
	if places != maxSwaps || l.nodes.swaps != 0 {
		t.Errorf("%d newcomers, %d swaps running", places, l.nodes.swaps)
	}
}

func TestBucketWhoseNodesAnswerIsContestedOnceAMinute(t *testing.T) {
	l := newLab(t, Config{})
	l.net.Run(time.Second)
	l.nodes.tick += 1000
	members, strangers := l.fullBucket(0, 4, empty)
	contest := func(p *peer) {
		l.do(func() { l.learn(true, id.NodeIDOf(p.addr), p.addr, us) })
		l.net.Run(4500 * time.Millisecond)
	}
	pings := func() (n int) {
		for _, p := range members {
			n += len(p.got)
		}
		return n
	}
	contest(strangers[0])
	l.nodes.tick += recentNode - 2
	contest(strangers[1])
	if n := pings(); n != 1 {
		t.Errorf("%d pings within a minute, want 1", n)
	}
	for _, p := range members {
		p.answer = silent
	}
	l.nodes.tick += 2
	contest(strangers[2])
	contest(strangers[3])
	if !l.knows(strangers[2]) || !l.knows(strangers[3]) {
		t.Error("where nodes turn out to be dead, places are contested again at once")
	}
}

func TestIdleNodesArePingedOldestFirst(t *testing.T) {
	l := newLab(t, Config{})
	l.net.Run(time.Second)
	l.do(func() { l.nodes.tick, l.upkeep.refreshTicks = 1000, 1000 })
	peers := l.peersOf(8, empty)
	for i, p := range peers {
		n := l.learned(p)
		n.Pinged -= kad.Tick(20 - i)
		n.Seen = n.Pinged
	}
	l.net.Run(45 * time.Second) // eight ticks, so one round
	for i, p := range peers {
		want := 0
		if i < 5 {
			want = 1
		}
		if n := p.count(true, wire.CmdPing); n != want {
			t.Errorf("node %d pinged %d times, want %d", i, n, want)
		}
	}
	for n, i := l.nodes.list.Oldest(), 0; n != nil; n, i = n.Newer(), i+1 {
		if want := peers[(i+5)%8].addr; n.Addr() != want {
			t.Errorf("place %d from the oldest is %v, want %v", i, n.Addr(), want)
		}
	}
}

func TestPingsAreFewerWhenTheyAreNotNeeded(t *testing.T) {
	tests := []struct {
		name   string
		busy   int      // requests in flight
		pinged kad.Tick // ticks since the oldest node was contacted
		want   int
	}{
		{"idle", 0, recentNode, 5},
		{"two requests in flight", 2, recentNode, 5},
		{"three requests in flight", 3, recentNode, 3},
		{"oldest contacted lately", 3, recentNode - 1, 2},
		{"oldest contacted in this tick", 0, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, Config{})
			l.net.Run(time.Second)
			peers := l.peersOf(8, empty)
			for _, p := range peers {
				n := l.learned(p)
				n.Pinged = l.nodes.tick - tt.pinged
			}
			l.do(func() {
				for range tt.busy {
					l.Request(RequestOptions{To: client}, nil)
				}
				l.pingSome()
			})
			if l.nodes.checks != tt.want {
				t.Errorf("%d nodes checked, want %d", l.nodes.checks, tt.want)
			}
		})
	}
}

func TestNewIDRearrangesTableAndList(t *testing.T) {
	l := newLab(t, Config{})
	l.net.Run(time.Second)
	for i := range 200 {
		l.do(func() { l.AddNode(netip.AddrPortFrom(addrOf(i), 1)) })
	}
	before := l.Len()
	self := id.NodeIDOf(netip.AddrPortFrom(addrOf(7), 1)) // one of them turns out to be us
	queries := l.Stats().Queries.Total
	l.do(func() { l.renumber(self) })
	if l.TableID() != self || l.nodes.table.Get(self) != nil {
		t.Errorf("id %v, own entry %v", l.TableID(), l.nodes.table.Get(self))
	}
	if l.nodes.list.Len() != l.nodes.table.Len() || l.Len() >= before || l.Len() < before/2 {
		t.Errorf("%d nodes in the table, %d in the list, %d before", l.nodes.table.Len(), l.nodes.list.Len(), before)
	}
	for n := l.nodes.list.Oldest(); n != nil; n = n.Newer() {
		if l.nodes.table.Get(n.ID) != n {
			t.Fatal("a listed node is not in the table")
		}
	}
	if l.Stats().Queries.Total != queries+1 {
		t.Error("the new neighbourhood was not looked up")
	}
}

func TestTableAndListAgree(t *testing.T) {
	l := newLab(t, Config{})
	l.net.Run(time.Second)
	for _, p := range l.bucket(0, 60, silent) {
		l.do(func() { l.learn(true, id.NodeIDOf(p.addr), p.addr, us) })
		l.net.Run(3 * time.Second)
		if l.nodes.table.Len() != l.nodes.list.Len() {
			t.Fatalf("%d nodes in the table, %d in the list", l.nodes.table.Len(), l.nodes.list.Len())
		}
		for n := l.nodes.list.Oldest(); n != nil; n = n.Newer() {
			if l.nodes.table.Get(n.ID) != n {
				t.Fatal("a listed node is not in the table")
			}
		}
	}
}

func TestOwnIDNeverEntersTheTable(t *testing.T) {
	l := newLab(t, Config{PublicAddr: us})
	l.net.Run(time.Second)
	l.do(func() {
		l.AddNode(us)
		l.learn(true, id.NodeIDOf(us), us, us)
		l.AddNode(netip.MustParseAddrPort("[2001:db8::1]:1"))
		l.AddNode(netip.MustParseAddrPort("10.0.0.1:0"))
	})
	if l.Len() != 0 {
		t.Errorf("knows %v", l.Nodes())
	}
}

func TestMalformedInternalCommandsGetNoAnswer(t *testing.T) {
	tests := []struct {
		name string
		m    wire.Request
		want int
	}{
		{"ping", wire.Request{Command: wire.CmdPing}, 1},
		{"ping with padding", wire.Request{Command: wire.CmdPing, Value: make([]byte, 100)}, 1},
		{"ping NAT without value", wire.Request{Command: wire.CmdPingNAT}, 0},
		{"ping NAT with one byte", wire.Request{Command: wire.CmdPingNAT, Value: []byte{1}}, 0},
		{"ping NAT with port 0", wire.Request{Command: wire.CmdPingNAT, Value: []byte{0, 0}}, 0},
		{"ping NAT", wire.Request{Command: wire.CmdPingNAT, Value: wire.PingNAT{Port: DefaultPort}.Append(nil)}, 1},
		{"find node without target", wire.Request{Command: wire.CmdFindNode}, 0},
		{"find node", wire.Request{Command: wire.CmdFindNode, Target: &target}, 1},
		{"down hint without value", wire.Request{Command: wire.CmdDownHint}, 0},
		{"down hint with five bytes", wire.Request{Command: wire.CmdDownHint, Value: make([]byte, 5)}, 0},
		{"down hint about a stranger", wire.Request{Command: wire.CmdDownHint, Value: make([]byte, 6)}, 1},
		{"delayed ping without value", wire.Request{Command: wire.CmdDelayedPing}, 0},
		{"delayed ping with three bytes", wire.Request{Command: wire.CmdDelayedPing, Value: make([]byte, 3)}, 0},
		{"delayed ping at once", wire.Request{Command: wire.CmdDelayedPing, Value: make([]byte, 4)}, 1},
		{"unknown", wire.Request{Command: 1 << 40}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, Config{})
			p := l.peer(silent)
			var answers []wire.Response
			p.sock.OnReceive(func(_ netip.AddrPort, b []byte) {
				if m, err := wire.ParseResponse(b); err == nil {
					answers = append(answers, m)
				}
			})
			p.named = false
			tt.m.Internal, tt.m.TID = true, 77
			p.host.Do(func() { p.ask(l.atServer(), tt.m) })
			l.net.Run(time.Second)
			if len(answers) != tt.want {
				t.Fatalf("%d answers, want %d", len(answers), tt.want)
			}
			for _, m := range answers {
				wantError := wire.CodeNone
				if tt.name == "unknown" {
					wantError = wire.CodeUnknownCommand
				}
				if m.TID != 77 || m.Error != wantError || m.Token != nil || m.Value != nil {
					t.Errorf("answer %+v", m)
				}
			}
		})
	}
}

func TestWithoutApplicationEveryCommandIsUnknown(t *testing.T) {
	l := newLab(t, Config{})
	p := l.peer(silent)
	var answers []wire.Response
	p.sock.OnReceive(func(_ netip.AddrPort, b []byte) {
		if m, err := wire.ParseResponse(b); err == nil {
			answers = append(answers, m)
		}
	})
	p.host.Do(func() { p.ask(l.atServer(), wire.Request{Command: wire.CmdLookup, Target: &target}) })
	l.net.Run(time.Second)
	if len(answers) != 1 || answers[0].Error != wire.CodeUnknownCommand || answers[0].Token != nil || len(answers[0].Closer) != 1 {
		t.Errorf("answers %+v", answers)
	}
}

func TestTokenProvesTheAddress(t *testing.T) {
	var requests int
	l := newLab(t, Config{App: onRequest(func(r *Request) {
		requests++
		r.Reply(nil, ReplyOptions{})
	})})
	p, q := l.peer(silent), l.peer(silent)
	var answers []wire.Response
	for _, x := range []*peer{p, q} {
		x.sock.OnReceive(func(_ netip.AddrPort, b []byte) {
			if m, err := wire.ParseResponse(append([]byte(nil), b...)); err == nil {
				answers = append(answers, m)
			}
		})
	}
	ask := func(x *peer, token *id.Token) wire.Response {
		t.Helper()
		n := len(answers)
		x.host.Do(func() { x.ask(l.atServer(), wire.Request{Command: wire.CmdAnnounce, Target: &target, Token: token}) })
		l.net.Run(10 * time.Millisecond)
		if len(answers) != n+1 {
			t.Fatalf("%d answers", len(answers)-n)
		}
		return answers[n]
	}
	token := *ask(p, nil).Token
	if ask(p, &token).Error != wire.CodeNone || requests != 2 {
		t.Errorf("own token refused, %d requests", requests)
	}
	before := l.Len()
	l.do(func() { l.nodes.remove(l.nodes.table.Get(id.NodeIDOf(p.addr))) })
	wrong := ask(q, &token)
	if wrong.Error != wire.CodeInvalidToken || wrong.Token == nil || requests != 2 {
		t.Errorf("another host's token: %+v, %d requests", wrong, requests)
	}
	if l.Len() != before-1 {
		t.Error("the sender of a wrong token entered the table")
	}
	if ask(q, wrong.Token).Error != wire.CodeNone {
		t.Error("the fresh token is no good")
	}
	l.net.Run(2 * kad.TokenRotation)
	if ask(p, &token).Error != wire.CodeInvalidToken {
		t.Error("old token accepted")
	}
}
