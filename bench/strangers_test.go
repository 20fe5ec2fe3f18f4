package bench

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/client"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht/forge"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/node"
	"github.com/dhtprom/dhtprom/scraper"
)

var attackTime = flag.Duration("attack", time.Second, "how long TestStrangersCostLittle plays each attack")

// callerPace is the interval at which a caller sends 1 KiB: together 13 MB per second, which is no flood by itself.
const callerPace = 10 * time.Millisecond

// maxAbove bounds the growth of the heap under any attack, in bytes.
const maxAbove = 64 << 20

// TestStrangersCostLittle runs attacks on a scraper over real sockets, and prints the cost of each as a table:
//
//	go test ./bench -run Strangers -v -attack 30s
//
// It checks memory. The numbers of successful scrapes and registrations depend on the machine, and are printed.
func TestStrangersCostLittle(t *testing.T) {
	w := newSiege(t)
	rows := []string{"| attack | registrations | scrapes | heap above base |", "|---|---|---|---|"}
	for _, a := range []struct {
		name string
		play func(stop <-chan struct{})
	}{
		{"none", func(<-chan struct{}) {}},
		{"66,000 datagrams of garbage per second", w.garbage},
		{"128 connections, each with the beginning of a 16 MiB message", func(stop <-chan struct{}) { w.callers(128, w.beginning, stop) }},
		{"128 connections that send nonsense", func(stop <-chan struct{}) { w.callers(128, w.nonsense, stop) }},
	} {
		t.Run(a.name, func(t *testing.T) {
			stop := make(chan struct{})
			var attackers sync.WaitGroup
			attackers.Go(func() { a.play(stop) })
			r := w.watch(*attackTime)
			close(stop)
			attackers.Wait()
			rows = append(rows, fmt.Sprintf("| %s | %d of %d | %d of %d | %.1f MB |", a.name, r.registered, r.tried, r.scraped, r.asked, float64(r.above)/1e6))
			if r.above > maxAbove {
				t.Errorf("the heap grows by %d MB", r.above>>20)
			}
		})
	}
	t.Log("\n" + strings.Join(rows, "\n"))
}

// siege is a scraper with clients on a private DHT.
type siege struct {
	t       *testing.T
	dht     *node.DHT
	scraper *scraper.Scraper
	key     id.PublicKey
	at      *net.UDPAddr
	secret  domain.Secret
	base    uint64
	guests  int
}

const siegeClients = 8

func newSiege(t *testing.T) *siege {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	t.Cleanup(cancel)
	dht, err := node.NewDHT(node.DHTConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dht.Close() })
	secret, err := domain.SecretFromBytes([]byte(strings.Repeat("s", domain.KeySize)))
	if err != nil {
		t.Fatal(err)
	}
	w := &siege{t: t, dht: dht, secret: secret}
	cfg, err := dht.Config()
	if err != nil {
		t.Fatal(err)
	}
	w.at = net.UDPAddrFromAddrPort(cfg.Listen)
	n, err := dhtprom.NewNode(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	if w.scraper, err = scraper.Start(context.Background(), n, scraper.Config{Seed: domain.SeedFrom([32]byte{3}), Secrets: []domain.Secret{secret}}); err != nil {
		t.Fatal(err)
	}
	w.key = id.PublicKey(w.scraper.PublicKey())
	for i := range siegeClients {
		ok, end := w.register(ctx, fmt.Sprint("client-", i))
		t.Cleanup(end)
		if !ok {
			t.Fatal("a client cannot register")
		}
	}
	w.watch(500 * time.Millisecond)
	w.base = heap()
	return w
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// register starts a client on a node of its own and reports whether it was registered in time. end closes it.
func (s *siege) register(ctx context.Context, alias string) (ok bool, end func()) {
	cfg, err := s.dht.Config()
	if err != nil {
		s.t.Fatal(err)
	}
	n, err := dhtprom.NewNode(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	end = func() { _ = n.Close() }
	c, err := client.Start(ctx, n, client.Config{
		Scrapers: []app.ClientScraper{{Key: s.scraper.PublicKey(), Secret: s.secret}}, Alias: alias,
		Func: func(context.Context) (string, error) { return strings.Repeat("up 1\n", 1000), nil },
	})
	return err == nil && c.Registered(ctx) == nil, end
}

// seen counts the successes of honest peers during an attack.
type seen struct {
	tried, registered, asked, scraped int
	above                             int64
}

// watch scrapes all clients and registers new ones for a while.
func (s *siege) watch(d time.Duration) (r seen) {
	end := time.Now().Add(d)
	for time.Now().Before(end) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		for i := range siegeClients {
			r.asked++
			if _, err := s.scraper.Scrape(ctx, fmt.Sprint("client-", i)); err == nil {
				r.scraped++
			}
		}
		r.tried++
		s.guests++
		ok, endGuest := s.register(ctx, fmt.Sprint("guest-", s.guests))
		if ok {
			r.registered++
		}
		endGuest()
		cancel()
		r.above = max(r.above, int64(heap())-int64(s.base))
	}
	return r
}

// socket returns an attacker's socket, at an address of its own.
func (s *siege) socket() *net.UDPConn {
	local := net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.2:0"))
	c, err := net.DialUDP("udp4", local, s.at)
	if err != nil {
		c, err = net.DialUDP("udp4", nil, s.at) // where loopback has only one address
	}
	if err != nil {
		s.t.Error(err)
		return nil
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// garbage sends meaningless datagrams, 66 each millisecond.
func (s *siege) garbage(stop <-chan struct{}) {
	c := s.socket()
	random := rand.NewChaCha8([32]byte{1})
	b := make([]byte, 1200)
	each := time.NewTicker(time.Millisecond)
	defer each.Stop()
	for {
		select {
		case <-stop:
			return
		case <-each.C:
		}
		for range 66 {
			random.Read(b[:32])
			_, _ = c.Write(b[:32+random.Uint64()%1100])
		}
	}
}

// callers has n strangers shake hands, and calls do with their connections until the attack ends.
func (s *siege) callers(n int, do func(*forge.Caller) (head []byte, zeros int), stop <-chan struct{}) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			c := s.socket()
			random := rand.NewChaCha8([32]byte{2, byte(i)})
			caller, err := forge.NewCaller(s.key, random)
			if err != nil {
				s.t.Error(err)
				return
			}
			to := s.at.AddrPort()
			_, _ = c.Write(caller.Handshake().Append(nil, to, uint16(i)))
			go func() { <-stop; _ = c.Close() }()
			b := make([]byte, 2048)
			for {
				n, err := c.Read(b)
				if err != nil {
					return
				}
				if caller.Answer(b[:n]) == nil {
					break
				}
			}
			head, zeros := do(caller)
			pace := time.NewTicker(callerPace)
			defer pace.Stop()
			for chunk := head; ; chunk = nothing[:min(zeros, len(nothing))] {
				for _, p := range caller.Packets(chunk) {
					_, _ = c.Write(p)
				}
				if zeros -= len(chunk); zeros <= 0 {
					break
				}
				<-pace.C
			}
			<-stop
		})
	}
	all.Wait()
}

// nothing is the content of attackers' messages.
var nothing [1024]byte

// beginning is the length of a message of 16 MiB and a part of it.
func (s *siege) beginning(c *forge.Caller) (head []byte, zeros int) {
	return append(c.Open(), 0xff, 0xff, 0xff), 2 << 20
}

// nonsense is a message that was not encrypted.
func (s *siege) nonsense(c *forge.Caller) (head []byte, zeros int) {
	return append(c.Open(), 100, 0, 0), 100
}
