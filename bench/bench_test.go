// Package bench measures the whole stack on this machine's loopback: sockets, loop, encryption and protocol together.
//
//	go test -run '^$' -bench . ./bench
//
// bench/compare measures dhtprom beside the published JavaScript packages, PushProx, plain HTTP and raw UDP.
package bench

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/source"
	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/dhtnet"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports/scrape"
)

var loopback = netip.MustParseAddrPort("127.0.0.1:0")

// machine is one udp.Host with a node on it.
type machine struct {
	host *udp.Host
	node *hyperdht.Node
}

// network starts a private DHT and machines on it.
func network(b *testing.B, machines int) []machine {
	b.Helper()
	var bootstrap []string
	start := func(cfg hyperdht.Config) machine {
		h := udp.New(udp.Options{})
		ready := make(chan struct{})
		cfg.Listen = loopback
		cfg.OnReady = func() { close(ready) }
		m := machine{host: h}
		var err error
		h.Do(func() { m.node, err = hyperdht.New(h, cfg) })
		if err != nil {
			b.Fatal(err)
		}
		<-ready
		b.Cleanup(h.Close)
		return m
	}
	for range 4 {
		m := start(hyperdht.Config{Bootstrap: append([]string{}, bootstrap...), Mode: hyperdht.Persistent, Reachable: true})
		if bootstrap == nil {
			m.host.Do(func() { bootstrap = []string{m.node.Status().Local.String()} })
		}
	}
	var all []machine
	for range machines {
		all = append(all, start(hyperdht.Config{Bootstrap: bootstrap}))
	}
	return all
}

func listen(b *testing.B, m machine, seed byte) *dhtnet.Listener {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	l, err := dhtnet.New(m.host, m.node).Listen(ctx, hyperdht.ListenOptions{Keys: id.KeyPairFromSeed(id.Seed{seed})})
	if err != nil {
		b.Fatal(err)
	}
	return l
}

// BenchmarkConnect finds a server in the DHT, shakes hands with it and waits until both sides are proven.
func BenchmarkConnect(b *testing.B) {
	ms := network(b, 2)
	l := listen(b, ms[0], 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	n := dhtnet.New(ms[1].host, ms[1].node)
	for b.Loop() {
		c, err := n.Dial(context.Background(), l.Addr().(dhtnet.Addr).Key, hyperdht.ConnectOptions{})
		if err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}

// BenchmarkThroughput streams over one encrypted connection between two machines.
func BenchmarkThroughput(b *testing.B) {
	const chunk = 1 << 20
	ms := network(b, 2)
	l := listen(b, ms[0], 2)
	received := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			received <- err
			return
		}
		n, err := io.Copy(io.Discard, c)
		if err == nil && n%chunk != 0 {
			err = fmt.Errorf("%d bytes arrived", n)
		}
		received <- err
	}()
	c, err := dhtnet.New(ms[1].host, ms[1].node).Dial(context.Background(), l.Addr().(dhtnet.Addr).Key, hyperdht.ConnectOptions{})
	if err != nil {
		b.Fatal(err)
	}
	data := make([]byte, chunk)
	b.SetBytes(chunk)
	for b.Loop() {
		if _, err := c.Write(data); err != nil {
			b.Fatal(err)
		}
	}
	if err := c.CloseWrite(); err != nil {
		b.Fatal(err)
	}
	if err := <-received; err != nil {
		b.Fatal(err)
	}
}

// BenchmarkScrape requests a client's metrics over a held connection, one request after the other.
func BenchmarkScrape(b *testing.B) {
	for _, size := range []int{0, 8_000, 1_000_000} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			session, h := scraping(b, strings.Repeat("x", size))
			b.SetBytes(int64(size))
			for b.Loop() {
				done := make(chan error, 1)
				h.Post(func() {
					scrape.Collect(session, domain.ScrapeRequest{}, size, func(p scrape.Page, err error) {
						if err == nil && len(p.Body) != size {
							err = fmt.Errorf("a page of %d bytes", len(p.Body))
						}
						done <- err
					})
				})
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// scraping is a session with a client on another machine that serves a text.
func scraping(b *testing.B, text string) (*app.Session, *udp.Host) {
	b.Helper()
	ms := network(b, 2)
	scraperKeys := domain.KeyPairFromSeed(seed(b, 3))
	secret, err := domain.SecretFromBytes([]byte(strings.Repeat("s", domain.KeySize)))
	if err != nil {
		b.Fatal(err)
	}
	started := make(chan error, 1)
	var client *app.Client
	h := ms[0].host
	h.Do(func() {
		client, err = app.NewClient(app.ClientConfig{
			Host: h, Transport: dht.New(h, ms[0].node, dht.Config{}), Scraper: scraperKeys.Public, Secret: secret, Alias: "bench",
			Source: source.Func(h, func(context.Context) (string, error) { return text, nil }),
		})
		if err == nil {
			client.Start(func(err error) { started <- err })
		}
	})
	if err == nil {
		err = <-started
	}
	if err != nil {
		b.Fatal(err)
	}
	opened := make(chan struct{}, 1)
	var session *app.Session
	h = ms[1].host
	h.Do(func() {
		session, err = app.NewSession(app.SessionConfig{
			Host: h, Transport: dht.New(h, ms[1].node, dht.Config{}), Keys: scraperKeys, Client: client.PublicKey(),
			OnEvent: func(e domain.Event) {
				if _, ok := e.(domain.ConnectionOpen); ok {
					opened <- struct{}{}
				}
			},
		})
		if err == nil {
			session.Start()
		}
	})
	if err != nil {
		b.Fatal(err)
	}
	<-opened
	return session, h
}

func seed(b *testing.B, n byte) domain.Seed {
	b.Helper()
	s, err := domain.ParseSeed(strings.Repeat(fmt.Sprintf("%02x", n), domain.KeySize))
	if err != nil {
		b.Fatal(err)
	}
	return s
}
