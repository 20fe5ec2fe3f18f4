package sim

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/adapters/simnet/pcap"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports/host"
)

// World is a private DHT on a simulated internet, with scrapers and clients.
type World struct {
	opts     Options
	scenario *Scenario
	net      *simnet.Net
	rand     *rand.Rand // the scenario's own choices
	log      *transcript
	check    *checker
	result   *Result

	addrs     addresses
	machines  []*machine
	byName    map[string]*machine
	names     keyNames
	bootstrap []string
	stun      []string // servers that all machines except DHT nodes ask
	nodes     []*machine
	scrapers  []*scraper
	clients   []*client

	secret  domain.Secret
	retired []domain.Secret // former secrets
	story   story
	audits  audits
}

// addresses counts the addresses that are assigned.
type addresses struct {
	public, private uint32
	ids             []id.NodeID // of DHT nodes, by the number of their address; zero for others
}

// keyNames are the names of the owners of keys.
type keyNames struct {
	byKey   map[id.PublicKey]string
	byShort map[string]string // by the beginning of the key
}

func (n *keyNames) add(key domain.PublicKey, name string) {
	n.byKey[id.PublicKey(key)], n.byShort[key.Short()] = name, name
}

// story is the phase of the scenario, and its reports to Options.Progress.
type story struct {
	doing    string
	reported time.Duration // when progress was last reported while waiting
	quiet    bool          // phases are not logged
}

// due reports whether progress is to be reported again, and notes that it is.
func (s *story) due(now time.Duration) bool {
	if now-s.reported < 5*time.Second {
		return false
	}
	s.reported = now
	return true
}

// audits are the regular checks of all machines.
type audits struct {
	on    bool
	every time.Duration
}

func newWorld(o Options, s *Scenario, r *Result) *World {
	w := &World{
		opts: o, scenario: s, result: r,
		byName: map[string]*machine{}, names: keyNames{byKey: map[id.PublicKey]string{}, byShort: map[string]string{}}, audits: audits{on: true},
	}
	w.secret = domain.SecretFrom(w.seedOf("secret"))
	w.rand = rand.New(rand.NewPCG(o.Seed, binary.LittleEndian.Uint64(fold("scenario"))))
	link := usualInternet(s.Loss)
	if s.Link != nil {
		link = *s.Link
	}
	cfg := simnet.Config{Seed: o.Seed, Trace: o.Trace, Scribble: !s.Coarse, Coarse: s.Coarse, Link: link}
	if s.Lanes {
		cfg.Lanes, cfg.Parallel = lanes, o.Parallel
	}
	w.net = simnet.New(cfg)
	w.log = &transcript{w: w, uids: map[string]int{}}
	w.check = newChecker(w)
	if o.Capture != nil {
		pcap.Record(w.net, o.Capture)
	}
	if o.Trace != nil {
		w.log.echo = func(line string) { _, _ = io.WriteString(o.Trace, line) }
	}
	w.audits.every = auditEvery
	if s.Large {
		w.audits.every = auditLargeEvery
	}
	w.net.AfterFunc(w.audits.every, w.audit)
	return w
}

// observe reads the trace events of all hosts.
func (w *World) observe(h *simnet.Host, e host.Event) {
	w.result.chronicle.observe(h, e)
	w.check.observe(h, e)
}

// seedOf derives 32 bytes for a purpose, so that a further key changes no other.
func (w *World) seedOf(what string) [32]byte {
	return id.Hash(binary.LittleEndian.AppendUint64([]byte("dhtprom sim "), w.opts.Seed), []byte(what))
}

func fold(what string) []byte {
	h := id.Hash([]byte(what))
	return h[:8]
}

// audit checks all machines periodically.
func (w *World) audit() {
	if !w.audits.on {
		return
	}
	for _, m := range w.machines {
		w.check.audit(m)
	}
	w.net.AfterFunc(w.audits.every, w.audit)
}

// run lets time pass.
func (w *World) run(d time.Duration) {
	end := w.net.Now() + d
	for w.net.Now() < end {
		w.net.Run(min(end-w.net.Now(), 5*time.Second))
		w.progress()
	}
}

func (w *World) progress() {
	if w.opts.Progress != nil {
		w.opts.Progress(Progress{Now: w.net.Now(), Doing: w.story.doing, Failures: len(w.result.Failures)})
	}
}

// reached lets time pass until cond holds, for within at most, and reports whether it does. cond is called ten times a
// virtual second.
func (w *World) reached(within time.Duration, cond func() bool) bool {
	end := w.net.Now() + within
	for !cond() {
		if w.net.Now() >= end {
			return false
		}
		w.net.Run(min(end-w.net.Now(), step))
		if w.story.due(w.net.Now()) {
			w.progress()
		}
	}
	return true
}

// stop ends a scenario that cannot go on.
type stop struct{}

// until is reached for conditions that the scenario needs to go on.
func (w *World) until(what string, within time.Duration, cond func() bool) {
	if !w.reached(within, cond) {
		w.failed(Failure{Check: "progress", What: fmt.Sprintf("not within %v: %s", within, what), Expected: numberless(what)})
		panic(stop{})
	}
}

// expect records a failure unless ok.
func (w *World) expect(ok bool, format string, args ...any) {
	if !ok {
		w.fail("outcome", format, args...)
	}
}

// fail records a failure of a rule.
func (w *World) fail(check, format string, args ...any) {
	w.failed(Failure{Check: check, What: fmt.Sprintf(format, args...), Expected: format})
}

// failed records a failure at the current time.
func (w *World) failed(f Failure) {
	f.At = w.net.Now()
	w.log.say("!!! %s: %s", f.Check, f.What)
	if len(w.result.Failures) < maxFailures {
		w.result.Failures = append(w.result.Failures, f)
	}
}

// phase begins a part of the scenario.
func (w *World) phase(format string, args ...any) {
	w.story.doing = fmt.Sprintf(format, args...)
	if !w.story.quiet {
		w.log.say("--- %s", w.story.doing)
		w.result.chronicle.phase(w.story.doing)
	}
	w.progress()
}

// bootNodes starts the DHT and waits until its nodes know each other.
func (w *World) bootNodes(n int) {
	w.phase("a private DHT of %d nodes", n)
	// They boot one after the other, as machines do, though quickly; the first must be up before the others.
	pause := 20 * time.Millisecond
	if w.scenario.Large {
		// Spread over the interval of a node's refresh, so that refreshes do not coincide. That is realistic, and it makes
		// large worlds several times faster: the memory that a lookup touches stays in the processor's cache.
		pause = refreshEvery * bootBatch / time.Duration(n)
	}
	for i := range n {
		w.addNode()
		if i%bootBatch == bootBatch-1 {
			w.net.Run(pause)
			w.progress()
		}
	}
	w.until("all nodes are persistent", startWithin, func() bool {
		for _, m := range w.nodes {
			if !m.node.Ready() {
				return false
			}
		}
		return true
	})
}

// finish closes the world cleanly and checks what is left.
func (w *World) finish() {
	w.phase("the end")
	w.audits.on = false
	w.check.final()
	for _, m := range w.machines {
		if m.host.Asleep() {
			m.host.Wake()
		}
	}
	// Clients deregister while their scraper and the DHT are up, and so do scrapers.
	for _, group := range [][]*machine{machinesOf(w.clients), machinesOf(w.scrapers), w.machines} {
		w.closeAll(group)
	}
	w.run(time.Minute)
	for _, m := range w.machines {
		w.check.leftovers(m)
	}
}

// closeAll closes machines at the same time.
func (w *World) closeAll(group []*machine) {
	open := 0
	for _, m := range group {
		if m.node == nil || m.host.Down() {
			continue
		}
		open++
		m.host.Do(func() {
			m.stop(func() {
				open--
				m.node = nil
			})
		})
	}
	w.until("all have closed", closeWithin, func() bool { return open == 0 })
}

func machinesOf[T interface{ machineOf() *machine }](all []T) []*machine {
	out := make([]*machine, len(all))
	for i, m := range all {
		out[i] = m.machineOf()
	}
	return out
}
