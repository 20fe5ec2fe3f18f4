// Package doctor examines a node's network and the cause of failed connections, and describes both for people.
//
//	bootstrap nodes, STUN ──▶ address and NAT ──▶ holders of the key's record ──▶ a connection, step by step ──▶ findings
//
// Run examines this machine, Examine any host.Host, with a node of its own, which announces nothing, so that it disturbs neither the
// program that runs it nor one beside it. Its knowledge of a connection comes from the trace of its host.
package doctor

import (
	"context"
	"errors"
	"time"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/portmap"
	"github.com/dhtprom/dhtprom/adapters/stun"
	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/internal/part"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/bridge"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Config configures an examination.
type Config struct {
	// Node is the program's configuration of its node: bootstrap nodes, STUN servers, relays and paths. The doctor has a node of
	// its own, so its listen address should differ, and its seed and file of nodes are ignored.
	Node dhtprom.NodeConfig
	// Targets are the peers to connect to, one after the other.
	Targets []Target
	// Timeout bounds each connection; 0 is DefaultTimeout.
	Timeout time.Duration
	// Clock is the machine's wall clock; nil leaves it out.
	Clock ports.Clock
	// OnProgress is called on the host's loop when a part of the report is complete, and when the next one begins. It must not block.
	// Nil means that only the report is of interest.
	OnProgress func(Progress)
}

// Progress is the state of an examination that is under way.
type Progress struct {
	At Seconds // since its start
	// Text is the part of the report's text that has become complete, whole lines. The parts together are the text of the report.
	Text string
	// Doing names the step under way: "entering the DHT". Empty at the end.
	Doing string
}

// Target is a peer to connect to.
type Target struct {
	// Name is the target's name in the report: "the scraper".
	Name string
	Key  domain.PublicKey
	// Addrs are addresses at which a scraper is dialled first, without the DHT.
	Addrs []domain.Address
	// Own means that the key is that of the program that runs the doctor; the key's program runs on this machine or should.
	Own bool
	// Secret is the secret to check with a scraper. Zero means that the target is a client, which is pinged.
	Secret domain.Secret
	// Keys are the identity for dialling the target; zero draws one.
	Keys domain.KeyPair
}

// tracer is a host whose trace is observed.
type tracer struct {
	host.Host
	see func(hyperdht.AttemptEvent)
}

// Trace implements host.Host.
func (t *tracer) Trace(e host.Event) {
	if a, ok := e.(hyperdht.AttemptEvent); ok {
		t.see(a)
	}
	t.Host.Trace(e)
}

// examination is one run.
type examination struct {
	host      *tracer
	cfg       Config
	done      func(*Report)
	report    *Report
	node      *hyperdht.Node
	stun      *stun.Client        // nil without servers
	early     []stun.ServerStatus // before the measurement of the punching socket
	transport *dht.Transport
	turn      overTURN
	mapper    *portmap.Client // nil before

	began     host.Instant
	wall      time.Time
	ready     bool
	booted    bool // the bootstrap nodes were checked
	measuring bool
	bound     host.Timer
	finding   func(hyperdht.AttemptEvent)
	page      page
	listed    bool // the bootstrap nodes are in the text
}

// overTURN is the node of an examination over a TURN server, where no DHT node answers over UDP.
type overTURN struct {
	stack      *dhtprom.Stack // nil for none
	entered    bool
	closeBelow func(done func())
}

// Run is Examine on a new host of this machine, which it closes at the end. It waits for the report, or until ctx ends.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	h := udp.New(udp.Options{NoOffload: cfg.Node.NoUDPOffload})
	defer h.Close()
	type outcome struct {
		report *Report
		err    error
	}
	o, err := bridge.Call(ctx, h, func(done func(outcome)) func() {
		if err := Examine(h, cfg, func(r *Report) { done(outcome{report: r}) }); err != nil {
			done(outcome{err: err})
		}
		return nil
	})
	return o.report, part.Outcome(o.err, err)
}

// Examine examines the network and the targets and calls done with its report, in a later turn and within a bounded time. It
// fails if cfg is invalid or no socket can be bound.
func Examine(h host.Host, cfg Config, done func(*Report)) error {
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	x := &examination{cfg: cfg, done: done, report: new(Report), finding: func(hyperdht.AttemptEvent) {}}
	x.host = &tracer{Host: h, see: func(e hyperdht.AttemptEvent) { x.finding(e) }}
	x.began = h.Now()
	if cfg.Clock != nil {
		x.wall = cfg.Clock.Now()
		x.report.Machine.Wall = x.wall
	}
	node := cfg.Node
	node.Seed, node.NodesFile, node.Mode, node.PublicAddress = domain.Seed{}, "", hyperdht.Ephemeral, domain.Address{}
	node.PortMapping = dhtprom.MapNever // the examination asks by itself
	node.OnReady = func() {
		x.ready = true
		x.report.Network.Took = x.since()
		x.measure()
	}
	stack, err := dhtprom.NewStack(x.host, node)
	if err != nil {
		return err
	}
	x.node, x.transport, x.stun = stack.DHT, stack.Transport, stack.STUN
	x.report.Machine.Addrs = h.Addrs()
	h.Post(func() { x.progress("entering the DHT", x.report.writeMachine) })
	x.node.CheckBootstrap(func(list []hyperdht.BootstrapStatus) {
		x.booted = true
		x.report.bootstrap(list)
		if !x.measuring {
			x.listed = true
			x.progress("entering the DHT", x.report.writeBootstrap)
		}
		x.measure()
	})
	x.bound = h.AfterFunc(entryTimeout, x.measureNow)
	return nil
}

// close closes the node from the top, if there is one.
func (o *overTURN) close(done func()) {
	below := func() {
		if o.closeBelow == nil {
			done()
			return
		}
		o.closeBelow(done)
	}
	if o.stack == nil {
		below()
		return
	}
	o.stack.Transport.Close(below)
}

// progress reports completed parts of the text, and what is examined next.
func (ex *examination) progress(doing string, parts ...func(*page)) {
	if ex.cfg.OnProgress == nil {
		return
	}
	for _, write := range parts {
		write(&ex.page)
	}
	p := Progress{At: ex.since(), Text: ex.page.String(), Doing: doing}
	ex.page.Reset()
	ex.cfg.OnProgress(p)
}

func (ex *examination) since() Seconds { return Seconds(ex.host.Now().Sub(ex.began)) }

// measure continues when the network was entered and the bootstrap nodes were checked.
func (ex *examination) measure() {
	if ex.ready && ex.booted {
		ex.measureNow()
	}
}

func (ex *examination) measureNow() {
	if ex.measuring {
		return
	}
	ex.measuring = true
	ex.bound.Stop()
	ex.early = ex.servers()
	ex.progress("determining the kind of NAT")
	classified := func(r hyperdht.NATReport) {
		ex.report.nat(r, ex.node.NAT())
		ex.report.network(ex.node.Status())
		ex.progress("waiting for STUN servers", ex.report.writeNetwork, ex.report.writeNAT)
		ex.host.AfterFunc(ex.stunWait(), func() {
			ex.report.stun(ex.early, ex.servers())
			rest := func() { ex.tryTURN(func() { ex.goOver(func() { ex.next(0) }) }) }
			if !ex.mayMap() {
				ex.progress(ex.afterRouter(), ex.report.writeSTUN)
				rest()
				return
			}
			ex.progress("asking the router for a port mapping", ex.report.writeSTUN)
			ex.askRouter(func() {
				ex.progress(ex.afterRouter(), ex.report.writePortMapping)
				rest()
			})
		})
	}
	if err := ex.node.ClassifyNAT(classified); err != nil {
		classified(hyperdht.NATReport{})
	}
}

// afterRouter names what is examined after the router.
func (ex *examination) afterRouter() string {
	if len(ex.cfg.Node.TURN.Servers) == 0 {
		return ""
	}
	return "trying the TURN servers"
}

// tryTURN tries the TURN servers, if there are any.
func (ex *examination) tryTURN(done func()) {
	if len(ex.cfg.Node.TURN.Servers) == 0 {
		done()
		return
	}
	err := dhtprom.TryTURN(ex.host, ex.cfg.Node.TURN, func(results []dhtprom.TURNResult) {
		ex.report.turn(results)
		ex.progress("", ex.report.writeTURN)
		done()
	})
	if err != nil {
		ex.report.turn([]dhtprom.TURNResult{{Server: "configuration", Err: err}})
		done()
	}
}

// goOver continues over a TURN server where that is the only way, and there are targets.
func (ex *examination) goOver(done func()) {
	if ex.report.Network.Entered || !ex.report.relays() || len(ex.cfg.Targets) == 0 {
		done()
		return
	}
	ex.progress("entering the DHT over a TURN server")
	var late host.Timer
	over := false
	end := func() {
		if !over {
			over = true
			late.Stop()
			done()
		}
	}
	late = ex.host.AfterFunc(entryTimeout, end)
	node := ex.cfg.Node
	node.Seed, node.Mode, node.PortMapping = domain.Seed{}, hyperdht.Ephemeral, dhtprom.MapNever
	node.OnReady = func() {
		if s := ex.turn.stack; s != nil && !over {
			ex.turn.entered = s.DHT.Status().Nodes > 0
			ex.node, ex.report.Network.Nodes = s.DHT, s.DHT.Status().Nodes
			end()
		}
	}
	var err error
	ex.turn.closeBelow, err = dhtprom.NewTURNStack(ex.host, node, func(s *dhtprom.Stack) { ex.turn.stack = s }, func(error) {})
	if err != nil { // TryTURN has reported it
		end()
	}
}

// dialler is the transport that connects to targets.
func (ex *examination) dialler() *dht.Transport {
	if ex.turn.entered {
		return ex.turn.stack.Transport
	}
	return ex.transport
}

// servers returns the status of the STUN servers.
func (ex *examination) servers() []stun.ServerStatus {
	if ex.stun == nil {
		return nil
	}
	return ex.stun.Status()
}

// stunWait is the remaining wait for STUN servers that have not answered yet.
func (ex *examination) stunWait() time.Duration {
	for _, s := range ex.servers() {
		if s.AnsweredAt == 0 {
			return max(0, stunPatience-ex.host.Now().Sub(ex.began))
		}
	}
	return 0
}

// next examines one target after the other.
func (ex *examination) next(i int) {
	if i == len(ex.cfg.Targets) {
		ex.finish()
		return
	}
	target := ex.cfg.Targets[i]
	if !ex.report.Network.Entered && !ex.turn.entered && len(target.Addrs) == 0 {
		ex.next(i + 1)
		return
	}
	t := &TargetReport{Name: target.Name, Key: target.Key, OverTURN: ex.turn.entered, target: target}
	ex.report.Targets = append(ex.report.Targets, t)
	ex.search(t, func() {
		ex.connect(t, func() { ex.next(i + 1) })
	})
}

// search finds the nodes that have the target's record.
func (ex *examination) search(t *TargetReport, done func()) {
	start := ex.host.Now()
	ex.progress("searching for the key of " + t.Name)
	ex.node.FindPeer(id.PublicKey(t.Key), func(f hyperdht.Found) {
		r := Holder{Node: f.From}
		for _, p := range f.Peers {
			if p.PublicKey == id.PublicKey(t.Key) {
				r.Relays = append(r.Relays, p.RelayAddrs...)
			}
		}
		t.Record.Holders = append(t.Record.Holders, r)
	}, func(err error) {
		t.Record.Took = Seconds(ex.host.Now().Sub(start))
		t.Record.Announced = len(t.Record.Holders) > 0
		t.Record.err, t.Record.Error = err, text(err)
		ex.progress(connecting(t), t.writeRecord, t.writeConnection)
		done()
	})
}

// connect dials the target and sends it a request without effect.
func (ex *examination) connect(t *TargetReport, done func()) {
	c := &t.Connection
	start := ex.host.Now()
	ex.finding = func(e hyperdht.AttemptEvent) {
		if c.note(t, start, ex.host.Now(), e) {
			ex.progress(connecting(t), c.Steps[len(c.Steps)-1].write)
		}
	}
	over := false
	var hangUp func()
	var late host.Timer
	finish := func(err error) {
		if over {
			return
		}
		over = true
		late.Stop()
		ex.finding = func(e hyperdht.AttemptEvent) { c.noteWayOf(t, start, e) } // events after the attempt's end
		c.Took = Seconds(ex.host.Now().Sub(start))
		c.err, c.Error, c.Cause = err, text(err), dht.CauseOf(err)
		hangUp()
		ex.finding = func(hyperdht.AttemptEvent) {}
		ex.progress("", t.writeResult)
		done()
	}
	late = ex.host.AfterFunc(ex.cfg.Timeout, func() { finish(errTooLong) })
	if t.target.Secret.IsZero() {
		hangUp = ex.ask(t, finish)
	} else {
		hangUp = ex.register(t, finish)
	}
}

func connecting(t *TargetReport) string { return "connecting to " + t.Name }

var errTooLong = errors.New("timed out")

// register says goodbye to the scraper for an alias that no client has: the scraper checks the secret and changes nothing.
// Scrapers of the first generation do not know goodbyes.
func (ex *examination) register(t *TargetReport, finish func(error)) (cancel func()) {
	keys := t.target.Keys
	if keys.IsZero() {
		keys = ex.newKeys()
	}
	return ex.dialler().LeaveAlias(ports.Registration{
		Scraper: t.Key, Addrs: t.target.Addrs, Dial: keys, Secret: t.target.Secret,
		Register: domain.Register{Alias: "doctor", Key: ex.newKeys().Public, Hostname: "doctor", Service: "doctor"},
		OnOpen:   func(domain.Peer) { t.Connection.Open = true },
	}, func(err error) {
		remote, answered := errors.AsType[*domain.RemoteError](err)
		switch {
		case err == nil:
			t.Secret = SecretAccepted
		case !answered:
			finish(err)
			return
		case remote.Message == refusal:
			t.Secret = SecretRefused
		default:
			t.Secret, t.Answer = SecretUntested, remote.Message
		}
		finish(nil)
	})
}

// ask pings a client.
func (ex *examination) ask(t *TargetReport, finish func(error)) (cancel func()) {
	keys := t.target.Keys
	if keys.IsZero() {
		keys = ex.newKeys()
	}
	s := ex.dialler().DialMetrics(ports.MetricsDial{
		Keys: keys, Client: t.Key,
		OnOpen:  func(domain.Peer) { t.Connection.Open = true },
		OnReady: func() { finish(nil) },
		OnClose: func(err error) {
			if err == nil {
				err = errHungUp
			}
			finish(err)
		},
	})
	return func() { s.Close(nil) }
}

var errHungUp = errors.New("it closed the connection")

func (ex *examination) newKeys() domain.KeyPair {
	var seed [domain.KeySize]byte
	host.Draw(ex.host.Rand(), seed[:])
	return domain.KeyPairFromSeed(domain.SeedFrom(seed))
}

// finish completes the report.
func (ex *examination) finish() {
	ex.report.Took = ex.since()
	if ex.cfg.Clock != nil {
		ex.report.clock(ex.wall, ex.cfg.Clock.Now(), time.Duration(ex.report.Took))
	}
	ex.report.conclude(ex.cfg)
	if !ex.listed { // a bootstrap node's name took longer to resolve than the DHT takes to enter
		ex.progress("", ex.report.writeBootstrap)
	}
	ex.progress("", ex.report.writeFindings)
	join := host.NewJoin(func() { ex.done(ex.report) })
	begun := join.Add()
	ex.transport.Close(join.Add())
	if ex.mapper != nil {
		ex.mapper.Close(join.Add())
	}
	ex.turn.close(join.Add())
	begun()
}
