package dht

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/muxrpc"
	"github.com/dhtprom/dhtprom/ports"
)

// setHandlers records the requests of a set, and answers with f. The content is written as "all" or "since BASE", with the aliases.
func (w *world) setHandlers(names map[domain.Revision]string, f func(req ports.SetRequest, reply func(ports.SetReply))) func(ports.Conn) ports.AliasHandlers {
	return func(c ports.Conn) ports.AliasHandlers {
		h := w.aliasHandlers(yes)(c)
		h.OnSet = w.onSet(names, f)
		return h
	}
}

func (w *world) onSet(names map[domain.Revision]string, f func(req ports.SetRequest, reply func(ports.SetReply))) func(ports.SetRequest, func(ports.SetReply)) {
	return func(req ports.SetRequest, reply func(ports.SetReply)) {
		if c := req.Content; c == nil {
			w.call("set %s since %s of %d", names[req.Revision], names[req.Base], req.Count)
		} else {
			var aliases []string
			for _, t := range c.Targets {
				aliases = append(aliases, string(t.Alias))
			}
			w.call("content since %s: %v gone %v bad %v former %d", names[c.Since], aliases, c.Gone, c.Bad, len(c.Former))
		}
		f(req, reply)
	}
}

func newSet(t *testing.T, aliases ...domain.Alias) domain.TargetSet {
	t.Helper()
	var targets []domain.Target
	for _, a := range aliases {
		targets = append(targets, domain.Target{Alias: a})
	}
	s, err := domain.NewTargetSet(targets)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// setWorld is a world with a registration of a set in progress.
type setWorld struct {
	*world
	server   *aliasServer
	scraper  *link
	old, set domain.TargetSet
	names    map[domain.Revision]string
	replies  []ports.SetReply // the answers in order; then none
	requests []ports.SetRequest
	rejected []domain.RejectedTarget
	cancel   func()
	last     func(ports.SetReply) // answers the last request that has no answer
}

func newSetWorld(t *testing.T, cfg Config, change func(*ports.Registration), replies ...ports.SetReply) *setWorld {
	w := &setWorld{world: newWorld(t), old: newSet(t, "a", "b"), set: newSet(t, "b", "c"), replies: replies}
	w.names = map[domain.Revision]string{w.old.Revision(): "old", w.set.Revision(): "new", {}: "none"}
	w.scraper = newLink(w.loop, w.world.scraper)
	server, err := serveAliases(w.scraper, cfg, w.setHandlers(w.names, func(req ports.SetRequest, reply func(ports.SetReply)) {
		w.requests = append(w.requests, req)
		if len(w.replies) > 0 {
			r := w.replies[0]
			w.replies = w.replies[1:]
			reply(r)
			return
		}
		w.last = reply
	}))
	if err != nil {
		t.Fatal(err)
	}
	w.server = server
	r := w.registration()
	r.OnOpen = nil
	r.Register = domain.Register{Key: domain.PublicKey(id.KeyPairFromSeed(id.Seed{3}).Public), Instance: domain.Instance{7}}
	r.Set = &ports.SetRegistration{Targets: w.set, Base: w.old, OnRejected: func(r []domain.RejectedTarget) { w.rejected = r }}
	r.OnShared = func() { w.call("shared") }
	r.OnElsewhere = func() { w.call("elsewhere") }
	if change != nil {
		change(&r)
	}
	w.cancel = register(newLink(w.loop, w.client), methodAlias, r, &metricsOffer{
		keys: id.KeyPairFromSeed(id.Seed{3}), admit: func(domain.Peer) bool { return true }, onOpen: w.metricsHandlers(up),
	}, w.registered)
	w.open()
	w.run()
	return w
}

func TestSetIsSentAsFarAsTheScraperNeedsIt(t *testing.T) {
	all, changes, done := ports.SetReply{Success: true, Need: ports.NeedAll}, ports.SetReply{Success: true, Need: ports.NeedChanges}, ports.SetReply{Success: true, Updated: true}
	noBase := func(r *ports.Registration) { r.Set.Base = domain.TargetSet{} }
	const whole, change = "content since none: [b c] gone [] bad [] former 0", "content since old: [c] gone [a] bad [] former 0"
	for _, c := range []struct {
		name    string
		change  func(*ports.Registration)
		replies []ports.SetReply
		want    string
	}{
		{"known by its revision", nil, []ports.SetReply{{Success: true}}, "set new since old of 2; registered false <nil>"},
		{"all", nil, []ports.SetReply{all, done}, "set new since old of 2; " + whole + "; registered true <nil>"},
		{"changes", nil, []ports.SetReply{changes, done}, "set new since old of 2; " + change + "; registered true <nil>"},
		{"first time", noBase, []ports.SetReply{all, done}, "set new since none of 2; " + whole + "; registered true <nil>"},
		{"changes of no base", noBase, []ports.SetReply{changes, done}, "set new since none of 2; " + whole + "; registered true <nil>"},
		{"base lost meanwhile", nil, []ports.SetReply{changes, all, done}, "set new since old of 2; " + change + "; " + whole + "; registered true <nil>"},
		{"again and again", nil, []ports.SetReply{all, all, all, all}, "set new since old of 2; " + whole + "; " + whole + "; " + whole + "; registered false " + errSetAgain.Error()},
		{"refused", nil, []ports.SetReply{{Message: "no"}}, "set new since old of 2; registered false scraper reported: no"},
		{"refused with its content", nil, []ports.SetReply{all, {Message: "no"}}, "set new since old of 2; " + whole + "; registered false scraper reported: no"},
		{"shared", nil, []ports.SetReply{{Success: true, Shared: true}}, "set new since old of 2; shared; registered false <nil>"},
		{"elsewhere", nil, []ports.SetReply{all, {Success: true, Elsewhere: true}}, "set new since old of 2; " + whole + "; elsewhere; registered false <nil>"},
		{"empty", func(r *ports.Registration) { r.Set.Targets = domain.TargetSet{} }, []ports.SetReply{all, done},
			"set none since old of 0; content since none: [] gone [] bad [] former 0; registered true <nil>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newSetWorld(t, Config{MaxName: 100, OwnConnections: true}, c.change, c.replies...)
			want := "alias open " + clientKey.Short() + "; " + c.want + "; alias close"
			if got := w.take(); got != want {
				t.Errorf("called %s, want %s", got, want)
			}
			for _, r := range w.requests {
				if !r.Proven || r.Unconnected || r.Instance != (domain.Instance{7}) || !r.Secret.Equal(domain.SecretFrom([32]byte{9})) || r.Key != domain.PublicKey(id.KeyPairFromSeed(id.Seed{3}).Public) {
					t.Errorf("request %+v", r)
				}
			}
			if w.scraper.sets.held != 0 {
				t.Errorf("%d bytes are kept", w.scraper.sets.held)
			}
			w.wantClosed()
		})
	}
}

// A scraper of an older version answers as it does any unknown method.
func TestSetAtAScraperWithoutSets(t *testing.T) {
	w := newWorld(t)
	if _, err := serveAliases(newLink(w.loop, w.scraper), Config{MaxName: 100}, w.aliasHandlers(yes)); err != nil {
		t.Fatal(err)
	}
	r := w.registration()
	r.Set = &ports.SetRegistration{}
	var got error
	register(newLink(w.loop, w.client), methodAlias, r, nil, func(_ bool, err error) { got = err })
	w.open()
	remote, _ := errors.AsType[*domain.RemoteError](got)
	if remote == nil || !remote.Unknown || !remote.Scraper || remote.Message != "UNKNOWN_METHOD: Unknown method 'targets'" {
		t.Errorf("error %v", got)
	}
	w.wantClosed()
}

// The registration of a set offers metrics on its connection, as that of an alias does.
func TestSetsConnectionCarriesTheMetrics(t *testing.T) {
	w := newSetWorld(t, Config{MaxName: 100}, nil, ports.SetReply{Success: true, Need: ports.NeedAll}, ports.SetReply{Success: true})
	key := domain.PublicKey(id.KeyPairFromSeed(id.Seed{3}).Public)
	if !w.scraper.offers(key) || !w.scraper.attachable() {
		t.Fatal("the offer was not accepted")
	}
	w.loop.Advance(metricsLinger - time.Millisecond)
	w.wantOpen()
	w.take()
	d := w.dial()
	d.Client = key
	requestOf(openSession(w.scraper, d), w.gotMetrics)
	w.run()
	if got := w.take(); !strings.Contains(got, `metrics true "up 1\n" ""`) {
		t.Errorf("called %s", got)
	}
	w.loop.Advance(time.Hour)
	w.wantOpen()
}

func TestRejectedTargetsAreReported(t *testing.T) {
	full := domain.RejectedTarget{Alias: "b", Reason: domain.ReasonTableFull}
	w := newSetWorld(t, Config{MaxName: 100}, nil, ports.SetReply{Success: true, Rejected: []domain.RejectedTarget{full, {Alias: "not of the set", Reason: domain.ReasonPinned}}})
	if fmt.Sprint(w.rejected) != fmt.Sprint([]domain.RejectedTarget{full}) || !strings.Contains(w.take(), "registered false <nil>") {
		t.Errorf("rejected %v", w.rejected)
	}
	w = newSetWorld(t, Config{MaxName: 100}, func(r *ports.Registration) {
		r.Set.OnRejected = func([]domain.RejectedTarget) { t.Error("called without a rejected target") }
	}, ports.SetReply{Success: true})
	if got := w.take(); !strings.Contains(got, "registered false <nil>") {
		t.Errorf("called %s", got)
	}
}

// Targets that are pinned to keys that the client has are registered with proofs, once. A scraper without any target of the set does not keep
// it, and then needs all targets with the proofs.
func TestFormerKeysAreProven(t *testing.T) {
	const proofs, whole = "content since new: [] gone [] bad [] former 1", "content since none: [b c] gone [] bad [] former 1"
	all := ports.SetReply{Success: true, Need: ports.NeedAll}
	pinned := ports.SetReply{Success: true, Updated: true, Rejected: []domain.RejectedTarget{{Alias: "b", Reason: domain.ReasonPinned}, {Alias: "c", Reason: domain.ReasonStore}}}
	former := func(r *ports.Registration) {
		r.Set.Former = func(a domain.Alias) domain.KeyPair {
			return map[domain.Alias]domain.KeyPair{"b": domain.KeyPairFromSeed(domain.SeedFrom([32]byte{8}))}[a]
		}
	}
	for _, c := range []struct {
		name    string
		change  func(*ports.Registration)
		replies []ports.SetReply
		want    string
		left    int // rejected
	}{
		{"taken over", former, []ports.SetReply{pinned, {Success: true}}, proofs + "; registered true <nil>", 0},
		{"still pinned", former, []ports.SetReply{pinned, pinned, {Success: true}}, proofs + "; registered true <nil>", 2},
		{"refused", former, []ports.SetReply{pinned, {Message: "no"}}, proofs + "; registered false scraper reported: no", 0},
		{"without any of its targets", former, []ports.SetReply{pinned, all, {Success: true}}, proofs + "; " + whole + "; registered true <nil>", 0},
		{"without any of its targets, still pinned", former, []ports.SetReply{pinned, all, pinned}, proofs + "; " + whole + "; registered true <nil>", 2},
		{"changes of another set", former, []ports.SetReply{pinned, {Success: true, Need: ports.NeedChanges}, {Success: true}},
			proofs + "; " + whole + "; registered true <nil>", 0},
		{"again and again", former, []ports.SetReply{pinned, all, all}, proofs + "; " + whole + "; registered false " + errSetAgain.Error(), 0},
		{"no former key", nil, []ports.SetReply{pinned}, "registered true <nil>", 2},
		{"no former key of this one", func(r *ports.Registration) {
			r.Set.Former = func(domain.Alias) domain.KeyPair { return domain.KeyPair{} }
		},
			[]ports.SetReply{pinned}, "registered true <nil>", 2},
		{"the set's own key", func(r *ports.Registration) {
			r.Set.Former = func(domain.Alias) domain.KeyPair { return domain.KeyPairFromSeed(domain.SeedFrom([32]byte{3})) }
		}, []ports.SetReply{pinned}, "registered true <nil>", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newSetWorld(t, Config{MaxName: 100, OwnConnections: true}, c.change, c.replies...)
			want := "alias open " + clientKey.Short() + "; set new since old of 2; " + c.want + "; alias close"
			if got := w.take(); got != want || len(w.rejected) != c.left {
				t.Errorf("called %s, want %s; rejected %v", got, want, w.rejected)
			}
			if n := len(w.requests) - 1; n > 0 && w.requests[n].Content.Former["b"] != domain.PublicKey(formerPair.Public) {
				t.Errorf("proven are %v", w.requests[n].Content.Former)
			}
		})
	}
}

// A scraper that rejects everything gets a limited number of proofs.
func TestProofsAreLimited(t *testing.T) {
	var aliases []domain.Alias
	var rejected []domain.RejectedTarget
	for i := range maxProofs + 5 {
		a := domain.Alias(fmt.Sprint("t", i))
		aliases, rejected = append(aliases, a), append(rejected, domain.RejectedTarget{Alias: a, Reason: domain.ReasonPinned})
	}
	asked := 0
	w := newSetWorld(t, Config{MaxName: 100}, func(r *ports.Registration) {
		r.Set.Targets = newSet(t, aliases...)
		r.Set.Former = func(domain.Alias) domain.KeyPair {
			asked++
			return domain.KeyPairFromSeed(domain.SeedFrom([32]byte{8}))
		}
	}, ports.SetReply{Success: true, Rejected: rejected}, ports.SetReply{Success: true})
	if len(w.requests) != 2 || len(w.requests[1].Content.Former) != maxProofs || asked != maxProofs {
		t.Errorf("%d keys were proven, %d signed", len(w.requests[1].Content.Former), asked)
	}
}

// The content goes in pieces, and those wait for the connection; answers on it are sent meanwhile.
func TestContentGoesInPiecesAsTheConnectionTakesThem(t *testing.T) {
	large := make([]domain.Target, 3000)
	for i := range large {
		large[i] = domain.Target{Alias: domain.Alias(fmt.Sprint("t", i)), Hostname: strings.Repeat("h", 90)}
	}
	set, err := domain.NewTargetSet(large)
	if err != nil {
		t.Fatal(err)
	}
	w := newSetWorld(t, Config{MaxName: 100}, func(r *ports.Registration) { r.Set.Targets = set }) // unanswered so far
	w.client.Window = 3
	w.take()
	w.wire.TakeFrames()
	w.world.scraper.Pause()
	w.last(ports.SetReply{Success: true, Need: ports.NeedAll})
	pieces := func() (n int) {
		for range 3 {
			w.run()
		}
		for _, f := range w.wire.TakeFrames() {
			if f.From == "a" && len(f.Bytes) > 1000 {
				n++
				if len(f.Bytes) > setPiece+40 {
					t.Errorf("a frame of %d bytes", len(f.Bytes))
				}
			}
		}
		return n
	}
	first := pieces()
	if first != w.client.Window {
		t.Errorf("%d pieces were sent to a connection that takes %d", first, w.client.Window)
	}
	w.world.scraper.Resume()
	all := first + pieces()
	if want := (len(appendContent(nil, large, nil)) + setPiece - 1) / setPiece; all != want {
		t.Errorf("%d pieces, want %d", all, want)
	}
	if len(w.requests) != 2 || len(w.requests[1].Content.Targets) != len(large) {
		t.Fatalf("%d requests", len(w.requests))
	}
}

func TestCanceledSetIsSilent(t *testing.T) {
	for name, replies := range map[string][]ports.SetReply{"while asked": nil, "while committed": {{Success: true, Need: ports.NeedAll}}} {
		t.Run(name, func(t *testing.T) {
			w := newSetWorld(t, Config{MaxName: 100}, nil, replies...)
			w.loop.Turn(func() {
				w.cancel()
				w.cancel()
			})
			w.run()
			if got := w.take(); strings.Contains(got, "registered") {
				t.Errorf("called %s", got)
			}
			w.wantClosed()
		})
	}
}

func TestSetWithoutAnAnswerIsAConnectionError(t *testing.T) {
	for name, replies := range map[string][]ports.SetReply{"to the request": nil, "to the commit": {{Success: true, Need: ports.NeedAll}}} {
		t.Run(name, func(t *testing.T) {
			w := newSetWorld(t, Config{MaxName: 100}, nil, replies...)
			w.take()
			w.loop.Turn(func() { w.client.Destroy(errors.New("cable cut")) })
			w.run()
			if got := w.take(); !strings.Contains(got, "registered false cable cut") {
				t.Errorf("called %s", got)
			}
			w.wantClosed()
		})
	}
	w := newSetWorld(t, Config{MaxName: 100}, nil)
	w.take()
	w.wire.A.Inject([]byte{1, 1, 0, 1, 1}) // an answer that ends in its version
	w.run()
	if got := w.take(); !strings.Contains(got, "registered false targets reply: ") {
		t.Errorf("called %s", got)
	}
}

// rawSets is a scraper whose client is the test.
type rawSets struct {
	*world
	link     *link
	from     *link // of the client
	rpc      *muxrpc.RPC
	replies  []ports.SetReply
	requests []ports.SetRequest
	later    []func(ports.SetReply) // where there was no reply
}

func newRawSets(t *testing.T, replies ...ports.SetReply) *rawSets {
	w := &rawSets{world: newWorld(t), replies: replies}
	w.link = newLink(w.loop, w.scraper)
	_, err := serveAliases(w.link, Config{MaxName: 100}, w.setHandlers(nil, func(req ports.SetRequest, reply func(ports.SetReply)) {
		w.requests = append(w.requests, req)
		if len(w.replies) == 0 {
			w.later = append(w.later, reply)
			return
		}
		r := w.replies[0]
		w.replies = w.replies[1:]
		reply(r)
	}))
	if err != nil {
		t.Fatal(err)
	}
	w.from = newLink(w.loop, w.client)
	if w.rpc, err = muxrpc.New(w.from.mux, muxrpc.Options{Protocol: protocolAlias}); err != nil {
		t.Fatal(err)
	}
	w.open()
	w.take()
	return w
}

// ask calls a method, and returns what is answered.
func (rs *rawSets) ask(method string, value []byte) (got string) {
	rs.t.Helper()
	got = "nothing"
	_, err := rs.rpc.Request(method, value, func(b []byte, err error) {
		m, parsed := ParseTargetsReply(b)
		switch {
		case err != nil:
			got = err.Error()
		case parsed != nil:
			got = parsed.Error()
		case m.Success:
			got = fmt.Sprintf("need %d", m.Need)
		default:
			got = m.Message
		}
	})
	if err != nil {
		rs.t.Fatal(err)
	}
	rs.run()
	return got
}

func (rs *rawSets) targets(change func(*TargetsRequest)) string {
	rs.t.Helper()
	m := targetsRequest(nil)
	if change != nil {
		change(&m)
	}
	return rs.ask(methodTargets, m.Append(nil))
}

func (rs *rawSets) data(b []byte) {
	for len(b) > 0 {
		n := min(len(b), setPiece)
		if err := rs.rpc.Event(methodTargetsData, b[:n]); err != nil {
			rs.t.Fatal(err)
		}
		b = b[n:]
	}
	rs.run()
}

func (rs *rawSets) commit(need ports.Need, n int) string {
	rs.t.Helper()
	return rs.ask(methodTargetsCommit, TargetsCommit{Need: need, Bytes: uint64(n)}.Append(nil))
}

var (
	needAll     = ports.SetReply{Success: true, Need: ports.NeedAll}
	registered  = ports.SetReply{Success: true}
	webContent  = appendContent(nil, []domain.Target{{Alias: "web"}}, nil)
	unannounced = "no content of a set is expected"
)

func TestContentThatWasNotRequestedIsDropped(t *testing.T) {
	for name, before := range map[string]func(w *rawSets){
		"without a request":     func(*rawSets) {},
		"after a refusal":       func(w *rawSets) { w.targets(nil) },
		"before the answer":     func(w *rawSets) { w.replies = nil; w.targets(nil) },
		"after a failed commit": func(w *rawSets) { w.replies = []ports.SetReply{needAll}; w.targets(nil); w.commit(ports.NeedAll, 1) },
		"after a refused content": func(w *rawSets) {
			w.replies = []ports.SetReply{needAll, {Message: "no"}}
			w.targets(nil)
			w.commit(ports.NeedAll, 0)
		},
		"after a bad request": func(w *rawSets) { w.replies = []ports.SetReply{needAll}; w.targets(nil); w.ask(methodTargets, nil) },
	} {
		w := newRawSets(t, ports.SetReply{Message: "no"})
		before(w)
		asked := len(w.requests)
		w.data(webContent)
		if held := w.link.sets.held; held != 0 {
			t.Errorf("%s: %d bytes are kept", name, held)
		}
		if got := w.commit(ports.NeedAll, len(webContent)); got != unannounced || len(w.requests) != asked {
			t.Errorf("%s: %s", name, got)
		}
		w.wantOpen()
	}
}

func TestContentMustBeComplete(t *testing.T) {
	for _, c := range []struct {
		name string
		data []byte
		need ports.Need
		size int
		want string
	}{
		{"complete", webContent, ports.NeedAll, len(webContent), "need 0"},
		{"incomplete", webContent[:3], ports.NeedAll, len(webContent), fmt.Sprintf("3 bytes of the set have arrived, want %d", len(webContent))},
		{"malformed", webContent[:3], ports.NeedAll, 3, "content of the set: the last item is incomplete"},
		{"of fewer fields", []byte(item(0, "")), ports.NeedAll, 2, "content of the set: item of kind 0: compact: input too short"},
		{"changes of a base", webContent, ports.NeedChanges, len(webContent), "need 0"},
	} {
		w := newRawSets(t, needAll, registered)
		w.targets(nil)
		w.data(c.data)
		if got := w.commit(c.need, c.size); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		if w.link.sets.held != 0 {
			t.Errorf("%s: %d bytes are kept", c.name, w.link.sets.held)
		}
		w.wantOpen()
		if last := w.requests[len(w.requests)-1]; c.want == "need 0" && (last.Content == nil || (last.Content.Since == domain.Revision(filled(4))) != (c.need == ports.NeedChanges)) {
			t.Errorf("%s: %+v", c.name, last)
		}
		// Another registration works.
		w.replies = []ports.SetReply{registered}
		if got := w.targets(nil); got != "need 0" {
			t.Errorf("%s: %s", c.name, got)
		}
	}
	w := newRawSets(t, needAll)
	w.targets(func(m *TargetsRequest) { m.Base = domain.Revision{} })
	w.data(webContent)
	if got := w.commit(ports.NeedChanges, len(webContent)); got != "the set has changes and no base" {
		t.Errorf("changes of no base: %s", got)
	}
	w = newRawSets(t)
	if got := w.targets(func(m *TargetsRequest) { m.Count++ }); got != "the set has 5001 targets, want at most 5000" || len(w.requests) != 0 {
		t.Errorf("too many targets: %s", got)
	}
	if got := w.ask(methodTargetsCommit, nil); !strings.HasPrefix(got, "DECODE_ERROR") {
		t.Errorf("an empty commit: %s", got)
	}
	w.wantOpen()
}

func TestContentIsBoundedForAConnectionAndInAll(t *testing.T) {
	w := newRawSets(t, needAll, needAll, registered, needAll)
	w.targets(nil)
	w.data(make([]byte, maxSet))
	if w.link.sets.held != maxSet {
		t.Errorf("%d bytes are kept, want %d", w.link.sets.held, maxSet)
	}
	w.data([]byte{0})
	if w.link.sets.held != 0 {
		t.Errorf("%d bytes are kept of a set that is too large", w.link.sets.held)
	}
	w.data(make([]byte, maxSet))
	if got, want := w.commit(ports.NeedAll, 2*maxSet+1), fmt.Sprintf("the set has %d bytes, want at most %d", 2*maxSet+1, maxSet); got != want || w.link.sets.held != 0 {
		t.Errorf("%s, want %s; %d bytes are kept", got, want, w.link.sets.held)
	}
	// A commit of less than was sent is no way around it.
	w.targets(nil)
	w.data(make([]byte, maxSet+1))
	if got, want := w.commit(ports.NeedAll, 0), fmt.Sprintf("the set has %d bytes, want at most %d", maxSet+1, maxSet); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	w.wantOpen()

	// Others have taken nearly all.
	w.link.sets.held = maxSets - 20
	w.replies = []ports.SetReply{needAll, needAll, registered}
	w.targets(nil)
	w.data(make([]byte, 20))
	w.data(make([]byte, 1))
	if want := fmt.Sprintf("this set and those that other clients send have %d bytes so far, want at most %d", maxSets+1, maxSets); w.link.sets.held != maxSets-20 {
		t.Errorf("%d bytes are kept", w.link.sets.held)
	} else if got := w.commit(ports.NeedAll, 21); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	w.targets(nil)
	w.data(webContent[:5])
	w.data(webContent[5:])
	if got := w.commit(ports.NeedAll, len(webContent)); got != "need 0" || w.link.sets.held != maxSets-20 {
		t.Errorf("%s; %d bytes are kept", got, w.link.sets.held)
	}
	var dropped []uint64
	for _, c := range w.link.sets.counters() {
		dropped = append(dropped, c.Value)
	}
	if !slices.Equal(dropped, []uint64{2, 1, 0}) {
		t.Errorf("dropped because of size, memory and time: %d", dropped)
	}
}

// A set that no scraper takes is not sent: the scraper's answer to the commit has the reason.
func TestSetThatIsTooLargeIsNotSent(t *testing.T) {
	large := make([]domain.Target, 2000)
	for i := range large {
		large[i] = domain.Target{Alias: domain.Alias(fmt.Sprint("t", i)), Labels: labelsOf(t, map[string]string{
			"a": strings.Repeat("x", 1000), "b": strings.Repeat("x", 1000), "c": strings.Repeat("x", 1000), "d": strings.Repeat("x", 1000), "e": strings.Repeat("x", 1000),
		})}
	}
	set, err := domain.NewTargetSet(large)
	if err != nil {
		t.Fatal(err)
	}
	w := newSetWorld(t, Config{MaxName: 100}, func(r *ports.Registration) { r.Set.Targets = set }, needAll)
	sent := 0
	for _, f := range w.wire.Frames {
		sent += len(f.Bytes)
	}
	want := fmt.Sprintf("registered false scraper reported: the set has %d bytes, want at most %d", len(appendContent(nil, large, nil)), maxSet)
	if got := w.take(); !strings.Contains(got, want) || sent > 2000 {
		t.Errorf("called %s, want %s; %d bytes were sent", got, want, sent)
	}
}

// A set of the maximum size is sent.
func TestLargestSetIsSent(t *testing.T) {
	target := func(alias string, lengths ...int) domain.Target {
		labels := map[string]string{}
		for i, n := range lengths {
			labels[fmt.Sprint("l", i)] = strings.Repeat("x", n)
		}
		return domain.Target{Alias: domain.Alias(alias), Labels: labelsOf(t, labels)}
	}
	size := func(all ...domain.Target) int { return len(appendContent(nil, all, nil)) }
	each := size(target("t0000", 1000, 1000))
	var targets []domain.Target
	for range maxSet/each - 1 {
		targets = append(targets, target(fmt.Sprintf("t%04d", len(targets)), 1000, 1000))
	}
	last := func(n int) []domain.Target { // n bytes of labels, in values of at least 253, whose lengths have three bytes
		n -= 253 * 4
		first := min(n, 770)
		second := min(n-first, 770)
		third := min(n-first-second, 770)
		return []domain.Target{target("y", 253+first, 253+second), target("z", 253+third, 253+n-first-second-third)}
	}
	left := maxSet - size(targets...)
	targets = append(targets, last(253*4+left-size(last(253*4)...))...)
	set, err := domain.NewTargetSet(targets)
	if err != nil || size(targets...) != maxSet {
		t.Fatalf("%d bytes, want %d; %v", size(targets...), maxSet, err)
	}
	w := newSetWorld(t, Config{MaxName: 100}, func(r *ports.Registration) { r.Set.Targets, r.Set.Base = set, domain.TargetSet{} }, needAll, registered)
	if got := w.take(); !strings.HasSuffix(got, "; registered false <nil>") || len(w.requests) != 2 || len(w.requests[1].Content.Targets) != len(targets) {
		t.Errorf("%d requests; called %.200s", len(w.requests), got[max(0, len(got)-200):])
	}
}

// Several calls of pump continue as one, so that other functions of the loop run between the turns that send.
func TestContentIsSentInOneTurnAtATime(t *testing.T) {
	w := newRawSets(t)
	e := &setExchange{link: w.from, rpc: w.rpc, sent: 1, size: 100 * setPiece, unsent: make([]byte, 100*setPiece)}
	left, after := 0, 0
	w.loop.Turn(func() {
		for range 3 {
			e.pump()
		}
		left = len(e.unsent)
		w.loop.Post(func() { after = len(e.unsent) })
	})
	if got := (left - after) / setPiece; got != setPieces {
		t.Errorf("%d pieces are sent before another function runs, want %d", got, setPieces)
	}
	if len(e.unsent) > 0 || e.call == nil {
		t.Errorf("%d bytes are left", len(e.unsent))
	}
}

// A connection that drains after the last answer gets no other commit.
func TestFinishedExchangeSendsNothing(t *testing.T) {
	w := newRawSets(t, needAll, registered)
	done := 0
	e := &setExchange{link: w.from, rpc: w.rpc, request: ports.Registration{Set: &ports.SetRegistration{Targets: newSet(t, "a")}}}
	e.done = func(_ TargetsReply, err error) {
		if done++; err != nil {
			t.Error(err)
		}
	}
	w.loop.Turn(e.start)
	w.run()
	if done != 1 || len(w.requests) != 2 {
		t.Fatalf("%d results of %d requests", done, len(w.requests))
	}
	w.wire.TakeFrames()
	w.loop.Turn(e.pump)
	w.run()
	if n := len(w.wire.TakeFrames()); n != 0 || done != 1 {
		t.Errorf("%d frames are sent, %d results", n, done)
	}
}

// What was sent without a commit is freed with the channel, and a later request begins again.
func TestUncommittedContentIsFreed(t *testing.T) {
	for name, then := range map[string]func(w *rawSets){
		"with the channel":      func(w *rawSets) { w.rpc.Destroy(nil) },
		"with the connection":   func(w *rawSets) { w.client.Destroy(errors.New("cable cut")) },
		"by another request":    func(w *rawSets) { w.targets(nil) },
		"by a malformed commit": func(w *rawSets) { w.ask(methodTargetsCommit, nil) },
	} {
		w := newRawSets(t, needAll)
		w.targets(nil)
		w.data(webContent)
		if w.link.sets.held != len(webContent) {
			t.Fatalf("%d bytes are kept, want %d", w.link.sets.held, len(webContent))
		}
		w.loop.Turn(func() { then(w) })
		w.run()
		if w.link.sets.held != 0 {
			t.Errorf("%s: %d bytes are kept", name, w.link.sets.held)
		}
		if w.loop.Advance(2 * maxSetTime); w.link.sets.tooLate != 0 {
			t.Errorf("%s: a time expires of what was freed", name)
		}
	}
}

// A peer that stops in the middle of a set holds no memory for as long as its connection.
func TestContentWithoutACommitIsDroppedAfterAWhile(t *testing.T) {
	w := newRawSets(t, needAll, needAll, registered, needAll)
	w.targets(nil)
	w.loop.Advance(time.Hour)
	w.data(webContent[:5])
	w.loop.Advance(maxSetTime - time.Millisecond)
	w.data(webContent[5:10]) // does not begin the time again
	if n := w.link.sets.held; n != 10 {
		t.Errorf("%d bytes are kept, want 10", n)
	}
	w.loop.Advance(time.Millisecond)
	if n := w.link.sets.held; n != 0 || w.link.sets.tooLate != 1 {
		t.Errorf("%d bytes are kept after %s; %d sets were dropped", n, maxSetTime, w.link.sets.tooLate)
	}
	w.data(webContent[10:])
	if n := w.link.sets.held; n != 0 {
		t.Errorf("%d bytes are kept of a set that was dropped", n)
	}
	if got, want := w.commit(ports.NeedAll, len(webContent)), "the set was not complete within 1m0s"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if n := w.loop.Timers(); n != 0 {
		t.Errorf("%d timers are armed", n)
	}
	// The next one has its own time, and a complete one needs none.
	w.targets(nil)
	w.data(webContent[:5])
	w.data(webContent[5:])
	w.loop.Advance(maxSetTime / 2)
	if got := w.commit(ports.NeedAll, len(webContent)); got != "need 0" {
		t.Error(got)
	}
	w.loop.Advance(time.Hour)
	if n := w.link.sets.tooLate; n != 1 || len(w.requests) != 3 {
		t.Errorf("%d sets were dropped, %d requests", n, len(w.requests))
	}
	w.targets(nil)
	w.data(webContent)
	if w.loop.Advance(maxSetTime); w.link.sets.tooLate != 2 || w.link.sets.held != 0 {
		t.Errorf("%d sets were dropped, %d bytes are kept", w.link.sets.tooLate, w.link.sets.held)
	}
	w.wantOpen()
}

// The answer to an earlier request changes nothing at a later one, nor that after the channel has closed.
func TestLateAnswersToSets(t *testing.T) {
	w := newRawSets(t)
	w.targets(nil)
	w.targets(nil)
	w.later[0](needAll)
	w.data(webContent)
	if w.link.sets.held != 0 {
		t.Error("the first answer has opened the second registration")
	}
	w.later[1](needAll)
	w.data(webContent)
	if w.link.sets.held != len(webContent) {
		t.Error("the second answer has not opened its registration")
	}
	w.targets(nil)
	w.rpc.Destroy(nil)
	w.run()
	w.later[2](needAll)
	if w.link.sets.held != 0 {
		t.Error("bytes are kept")
	}
}

// A session takes the set of its client and of no other key, accepts no offer, and nothing after it was closed.
func TestSessionTakesTheSetOfItsClient(t *testing.T) {
	w := newWorld(t)
	rs := &rawSets{world: w, link: newLink(w.loop, w.scraper), replies: []ports.SetReply{needAll, registered, needAll}}
	d := w.dial()
	d.OnSet = w.onSet(nil, func(req ports.SetRequest, reply func(ports.SetReply)) {
		rs.requests = append(rs.requests, req)
		reply(rs.replies[0])
		rs.replies = rs.replies[1:]
	})
	s := openSession(rs.link, d)
	var err error
	if rs.rpc, err = muxrpc.New(newLink(w.loop, w.client).mux, muxrpc.Options{Protocol: protocolMetrics}); err != nil {
		t.Fatal(err)
	}
	w.open()
	if got := rs.targets(nil); got != notAvailable || len(rs.requests) != 0 {
		t.Errorf("another key: %s", got)
	}
	own := func(m *TargetsRequest) {
		o := SignOffer(id.KeyPairFromSeed(id.Seed{1}), [64]byte{1})
		o.Instance, o.Unconnected = domain.Instance{7}, true
		m.Key, m.Offer = domain.PublicKey(clientKey), &o
	}
	rs.targets(own)
	proof := appendProof(nil, "web", formerPair, formerMessage(domain.PublicKey(clientKey), [64]byte{1}))
	rs.data(append(proof, webContent...))
	if got := rs.commit(ports.NeedAll, len(proof)+len(webContent)); got != "need 0" || len(rs.requests) != 2 {
		t.Fatalf("%s after %d requests", got, len(rs.requests))
	}
	if r := rs.requests[1]; !r.Proven || r.Unconnected || r.Instance != (domain.Instance{7}) || len(r.Content.Targets) != 1 || r.Content.Former["web"] != domain.PublicKey(formerPair.Public) {
		t.Errorf("request %+v", r)
	}
	if rs.link.offers(domain.PublicKey(clientKey)) {
		t.Error("an offer was accepted")
	}
	rs.targets(own)
	rs.data(webContent)
	if rs.link.sets.held != len(webContent) {
		t.Errorf("%d bytes are kept", rs.link.sets.held)
	}
	w.loop.Turn(func() {
		s.Close(nil)
		if rs.link.sets.held != 0 {
			t.Errorf("%d bytes are kept by a closed session", rs.link.sets.held)
		}
		s.sets.onTargets(targetsRequest(nil).Append(nil), func([]byte, error) {})
		s.sets.expects = true
		s.sets.onCommit(TargetsCommit{Need: ports.NeedAll}.Append(nil), func([]byte, error) {})
	})
	if w.run(); len(rs.requests) != 3 {
		t.Error("the application was called after it had closed the session")
	}
}

// The application limits the requests of a connection, and so the signatures that strangers have verified. It gets no request with too many
// targets.
func TestOfferOfARequestWithTooManyTargetsIsNotVerified(t *testing.T) {
	w := newRawSets(t, needAll)
	keys := id.KeyPairFromSeed(id.Seed{3})
	ask := func(count uint64) string {
		return w.targets(func(m *TargetsRequest) {
			o := SignOffer(keys, w.link.conn.HandshakeHash())
			m.Key, m.Offer, m.Count = domain.PublicKey(keys.Public), &o, count
		})
	}
	if got := ask(domain.MaxTargets + 1); got != "the set has 5001 targets, want at most 5000" || w.link.proven != (domain.PublicKey{}) {
		t.Errorf("%s, the proven key is %v", got, w.link.proven)
	}
	if got := ask(domain.MaxTargets); got != "need 1" || w.link.proven != domain.PublicKey(keys.Public) {
		t.Errorf("%s, the proven key is %v", got, w.link.proven)
	}
}
