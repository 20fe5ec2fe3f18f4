package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
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
