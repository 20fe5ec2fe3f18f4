package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/bench/internal/load"
	"github.com/dhtprom/dhtprom/bench/internal/relay"
	"github.com/dhtprom/dhtprom/bench/internal/systems"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/dhtnet"
	"github.com/dhtprom/dhtprom/node"
)

const (
	// firstBulk and firstTrips are the first measurements, which grow until they take as long as wanted.
	firstBulk  = 1 << 20 // bytes
	firstTrips = 16
	// streamTimes is the time of a bulk measurement, in those of scrapes: a lossy path needs more of it.
	streamTimes = 3
	dhtNodes    = 4
)

// route is a condition of the path between peers.
type route struct {
	name   string
	direct bool
	relay.Path
}

// parseRoutes parses -paths: direct, or round-trip times that losses and jitters may follow, as 40ms/1%/5ms.
func parseRoutes(text string) (all []route, err error) {
	for field := range strings.SplitSeq(text, ",") {
		r := route{name: "direct", direct: field == "direct"}
		for i, part := range strings.Split(field, "/") {
			if r.direct {
				break
			}
			var n float64
			percent, ok := strings.CutSuffix(part, "%")
			switch {
			case i == 0:
				r.RTT, err = time.ParseDuration(part)
				r.name = "RTT " + part
			case ok:
				n, err = strconv.ParseFloat(percent, 64)
				if r.Loss = n / 100; n > 0 {
					r.name += ", loss " + part
				}
			default:
				r.Jitter, err = time.ParseDuration(part)
				r.name += ", reordered by up to " + part
			}
			if err != nil || r.RTT < 0 || r.Jitter < 0 || r.Loss < 0 || r.Loss >= 1 {
				return nil, fmt.Errorf("want direct, or an RTT, a loss and a jitter as 40ms/1%%/5ms, got %q", field)
			}
		}
		all = append(all, r)
	}
	return all, nil
}

// link has one route, and pairs of peers on it.
type link struct {
	*systems.Running
	route     route
	relay     *relay.Relay // nil: direct
	bootstrap string
	pairs     []*pair
}

// pair is a column: two processes with a stream between them. They are nil where they are not installed.
type pair struct {
	name             string
	listener, dialer *load.Child
}

func newLink(ctx context.Context, o options, r route) (*link, error) {
	running, err := systems.New()
	if err != nil {
		return nil, err
	}
	l := &link{Running: running, route: r}
	if err := l.start(ctx, o); err != nil {
		l.Close()
		return nil, fmt.Errorf("%s: %w", r.name, err)
	}
	return l, nil
}

func (l *link) start(ctx context.Context, o options) error {
	if err := l.startDHT(ctx); err != nil {
		return err
	}
	l.pairs = []*pair{{name: "dhtprom"}, {name: "JavaScript"}, {name: "libudx, not encrypted"}}
	if err := l.connect(l.pairs[0], o.self, "role"); err != nil {
		return err
	}
	if !o.installed {
		return nil
	}
	if err := l.connect(l.pairs[1], "node", o.script); err != nil {
		return err
	}
	return l.connectBare(o, l.pairs[2])
}

// startDHT starts a private DHT, behind the relay if there is one.
func (l *link) startDHT(ctx context.Context) error {
	if l.route.direct {
		dht, err := node.NewDHT(node.DHTConfig{})
		if err != nil {
			return err
		}
		l.OnClose(func() { dht.Close() })
		l.bootstrap = dht.Bootstrap()[0]
		return nil
	}
	l.relay = relay.New(l.route.Path)
	l.OnClose(l.relay.Close)
	ctx, stop := context.WithTimeout(ctx, systems.Patience)
	defer stop()
	first, err := freePort()
	if err != nil {
		return err
	}
	second, err := l.relay.Of(first)
	if err != nil {
		return err
	}
	l.bootstrap = second.String()
	cfg := hyperdht.Config{Listen: first, PublicAddr: second, Bootstrap: []string{}, Mode: hyperdht.Persistent, Reachable: true}
	for range dhtNodes {
		h := udp.New(udp.Options{})
		l.OnClose(h.Close)
		if _, err := dhtnet.Start(ctx, h, cfg); err != nil {
			return err
		}
		cfg.Listen, cfg.PublicAddr, cfg.Bootstrap = loopback, netip.AddrPort{}, []string{l.bootstrap}
	}
	return nil
}

func freePort() (netip.AddrPort, error) {
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(loopback))
	if err != nil {
		return netip.AddrPort{}, err
	}
	return c.LocalAddr().(*net.UDPAddr).AddrPort(), c.Close()
}

// connect starts a listener and a dialer of a program.
func (l *link) connect(p *pair, program string, args ...string) (err error) {
	var about struct{ Key string }
	if p.listener, err = l.Role(p.name+" listener", program, slices.Concat(args, []string{"listen", l.bootstrap})...); err != nil {
		return err
	}
	if err := p.listener.Read(&about); err != nil {
		return err
	}
	if p.dialer, err = l.Role(p.name+" dialer", program, slices.Concat(args, []string{"dial", l.bootstrap, about.Key})...); err != nil {
		return err
	}
	return p.dialer.Read(&done{})
}

// connectBare starts two processes with a stream of libudx.
func (l *link) connectBare(o options, p *pair) error {
	var children [2]*load.Child
	var ports [2]int
	for i := range children {
		var about struct{ Port uint16 }
		c, err := l.Role("libudx "+strconv.Itoa(i), "node", o.script, "udx", strconv.Itoa(i+1))
		if err == nil {
			err = c.Read(&about)
		}
		if err != nil {
			return err
		}
		at := netip.AddrPortFrom(loopback.Addr(), about.Port)
		if l.relay != nil {
			if at, err = l.relay.Of(at); err != nil {
				return err
			}
		}
		children[i], ports[i] = c, int(at.Port())
	}
	p.listener, p.dialer = children[0], children[1]
	return errors.Join(p.listener.Ask(&done{}, "peer 2 %d answer", ports[1]), p.dialer.Ask(&done{}, "peer 1 %d", ports[0]))
}

// ask measures a bulk or trips, and the processor time of both processes.
func (p *pair) ask(what string, n int) (seconds float64, cpu time.Duration, err error) {
	both := &load.Way{Programs: []*load.Child{p.listener, p.dialer}}
	before, err := both.ProcessorTime()
	if err != nil {
		return 0, 0, err
	}
	var t timed
	if err := p.dialer.Ask(&t, "%s %d", what, n); err != nil {
		return 0, 0, fmt.Errorf("%s: %w", p.name, err)
	}
	after, err := both.ProcessorTime()
	return t.Seconds, after - before, err
}

// warm measures until the rate is level and a measurement takes as long as wanted, and returns its number.
func (p *pair) warm(what string, n int, d time.Duration) (int, error) {
	last := 0.
	for range 2 * maxWindows {
		seconds, _, err := p.ask(what, n)
		if err != nil {
			return 0, err
		}
		rate := float64(n) / seconds
		if seconds > d.Seconds()/4 && math.Abs(rate-last) < level*last {
			break
		}
		last = rate
		n = max(n, min(4*n, int(rate*d.Seconds())))
	}
	return n, nil
}

// streamFigures are the rows of a pair.
type streamFigures struct{ rate, cpu []float64 }

// measure measures all pairs in turns: rates in units per second, and processor time in units of time for one of them.
func (l *link) measure(o options, what string, first int, d time.Duration, unit, cpuUnit float64) ([]streamFigures, error) {
	all := make([]streamFigures, len(l.pairs))
	sizes := make([]int, len(l.pairs))
	for round := range o.rounds {
		for i := range l.pairs {
			turn := (i + round) % len(l.pairs)
			p, f := l.pairs[turn], &all[turn]
			if p.dialer == nil {
				continue
			}
			fmt.Fprintf(os.Stderr, "%s, %s, round %d of %d: %s\n", l.route.name, what, round+1, o.rounds, p.name)
			if round == 0 {
				n, err := p.warm(what, first, d)
				if err != nil {
					return nil, err
				}
				sizes[turn] = n
			}
			seconds, cpu, err := p.ask(what, sizes[turn])
			if err != nil {
				return nil, err
			}
			units := float64(sizes[turn]) / unit
			f.rate, f.cpu = append(f.rate, units/seconds), append(f.cpu, cpu.Seconds()/cpuUnit/units)
		}
	}
	return all, nil
}

func (l *link) print(all []streamFigures, rate, cpu string) {
	rates, cpus := []string{l.route.name, rate}, []string{l.route.name, cpu}
	for i, f := range all {
		if l.pairs[i].dialer == nil {
			rates, cpus = append(rates, notMeasured), append(cpus, notMeasured)
			continue
		}
		rates, cpus = append(rates, cell(f.rate)), append(cpus, cell(f.cpu))
	}
	for len(rates) < streamColumns {
		rates, cpus = append(rates, "–"), append(cpus, "–")
	}
	fmt.Println(load.Row(rates...))
	fmt.Println(load.Row(cpus...))
}

// streamColumns are path, row, dhtprom, JavaScript, libudx, raw UDP.
const streamColumns = 6

func compareStreams(ctx context.Context, o options) error {
	for i, r := range o.routes {
		l, err := newLink(ctx, o, r)
		if err != nil {
			return err
		}
		if i == 0 {
			fmt.Println(load.Head("path", "", "dhtprom", "JavaScript", "libudx, not encrypted", "raw UDP"))
		}
		err = l.compare(o)
		l.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	fmt.Println()
	return nil
}

// compare prints the rows of one route: round trips only where they measure more than the path.
func (l *link) compare(o options) error {
	all, err := l.measure(o, "bulk", firstBulk, streamTimes*o.duration, 1e6, 1e-3)
	if err != nil {
		return err
	}
	l.print(all, "bulk, MB/s", "bulk, CPU s/GB")
	if !l.route.direct {
		return nil
	}
	raw := &pair{name: "raw UDP"}
	if raw.listener, err = l.Role("udp", o.self, "role", "udp"); err != nil {
		return err
	}
	var about struct{ Address string }
	if err := raw.listener.Read(&about); err != nil {
		return err
	}
	if raw.dialer, err = l.Role("caller", o.self, "role", "caller", about.Address); err != nil {
		return err
	}
	if err := raw.dialer.Read(&done{}); err != nil {
		return err
	}
	l.pairs = append(l.pairs, raw)
	if all, err = l.measure(o, "trips", firstTrips, o.duration, 1, 1e-6); err != nil {
		return err
	}
	l.print(all, "round trips of 64 B, /s", "round trip, CPU µs")
	return nil
}
