package hyperdht_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports/host"
)

// watch collects the attempts' events of a host, without repetitions.
func (w *world) watch(who *simnet.Host) *[]hyperdht.AttemptEvent {
	list := new([]hyperdht.AttemptEvent)
	w.net.SetObserver(func(h *simnet.Host, e host.Event) {
		if a, ok := e.(hyperdht.AttemptEvent); ok && h == who {
			*list = append(*list, a)
		}
	})
	return list
}

// steps are the steps in order, each named once.
func steps(list []hyperdht.AttemptEvent) string {
	var names []string
	for _, e := range list {
		if !slices.Contains(names, e.Step.String()) {
			names = append(names, e.Step.String())
		}
	}
	return strings.Join(names, " ")
}

var (
	serverSite = netip.MustParseAddr("81.2.3.1")
	clientSite = netip.MustParseAddr("82.2.3.1")
	serverHost = netip.MustParseAddr("192.168.1.10")
	clientHost = netip.MustParseAddr("192.168.2.10")
)

func TestAttemptsTellEachStep(t *testing.T) {
	home := situation{nat: simnet.PortRestricted()}
	carrier := situation{nat: simnet.SymmetricRandom()}
	tests := []struct {
		name           string
		server, client situation
		refuse, slow   bool
		dialled        string // steps of the client
		received       string // and of the server
		err            error
	}{
		{
			name: "punched", server: home, client: home,
			dialled:  "started record handshake searched answered probing path first-packet way open",
			received: "received path first-packet open",
		},
		{
			name: "punched in the second round", server: home, client: home, slow: true,
			dialled:  "started record handshake searched answered probing probed agreed punching path first-packet way open",
			received: "received punching path first-packet open",
		},
		{
			name: "open server", server: situation{nat: simnet.Open()}, client: home,
			dialled:  "started record handshake searched answered path first-packet way open",
			received: "received path first-packet open",
		},
		{
			name: "both NATs random", server: carrier, client: carrier,
			dialled:  "started record handshake searched answered probing probed punch-failed way closed",
			received: "received aborted", err: hyperdht.ErrDoubleRandom,
		},
		{
			name: "refused", server: home, client: home, refuse: true,
			dialled:  "started record handshake searched unanswered closed",
			received: "received refused", err: hyperdht.ErrPeerConnectionFailed,
		},
	}
	for _, tt := range tests {
		for _, side := range []string{"dialled", "received"} {
			t.Run(tt.name+" "+side, func(t *testing.T) {
				w := newWorld(t, 12, simnet.Config{Seed: 50})
				sh, sn := w.settle("server", tt.server, serverSite, serverHost)
				ch, cn := w.settle("client", tt.client, clientSite, clientHost)
				opts := hyperdht.ListenOptions{Keys: keyPair(1)}
				if tt.refuse {
					opts.Admit = func(id.PublicKey, *hyperdht.HandshakePayload, netip.AddrPort) bool { return false }
				}
				w.listen(sh, sn, opts)
				watched, want := ch, tt.dialled
				if side == "received" {
					watched, want = sh, tt.received
				}
				events := w.watch(watched)
				var err error
				over := false
				ch.Do(func() {
					c := cn.Connect(keyPair(1).Public, hyperdht.ConnectOptions{SlowOpen: tt.slow})
					c.OnOpen(func() { over = true })
					c.OnClose(func(e error) { over, err = true, e })
				})
				w.until("it is open or fails", time.Minute, func() bool { return over })
				w.net.Run(2 * time.Second)
				if tt.err != nil {
					w.net.Run(15 * time.Second) // the server waits for the caller to come back
				}
				if got := steps(*events); got != want || !errors.Is(err, tt.err) {
					t.Errorf("steps:\n%s\nwant:\n%s\nerror %v", got, want, err)
				}
				for _, e := range *events {
					if text, err := e.AppendText(nil); err != nil || !strings.HasPrefix(string(text), "connection "+e.Step.String()) {
						t.Errorf("%q, %v", text, err)
					}
				}
			})
		}
	}
}

func TestPunchesAreCountedByKindAndResult(t *testing.T) {
	home, carrier := situation{nat: simnet.PortRestricted()}, situation{nat: simnet.SymmetricRandom()}
	tests := []struct {
		name                           string
		client                         situation
		deaf                           bool // nothing gets through between the two
		consistent, won, lost          uint64
		random, randomWon, randomsLost uint64
	}{
		{name: "consistent, won", client: home, consistent: 1, won: 1},
		{name: "consistent, lost", client: home, deaf: true, consistent: 1, lost: 1},
		{name: "random, won", client: carrier, random: 1, randomWon: 1},
		{name: "random, lost", client: carrier, deaf: true, random: 1, randomsLost: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, 12, simnet.Config{Seed: 51})
			sh, sn := w.settle("server", home, serverSite, serverHost)
			ch, cn := w.settle("client", tt.client, clientSite, clientHost)
			w.listen(sh, sn, hyperdht.ListenOptions{Keys: keyPair(1)})
			if tt.deaf {
				w.net.Block(sh, ch)
				w.net.Block(ch, sh)
			}
			over := false
			ch.Do(func() {
				c := cn.Connect(keyPair(1).Public, hyperdht.ConnectOptions{})
				c.OnOpen(func() { over = true })
				c.OnClose(func(error) { over = true })
			})
			w.until("it is open or fails", time.Minute, func() bool { return over })
			w.net.Run(time.Minute)
			for name, n := range map[string]*hyperdht.Node{"client": cn, "server": sn} {
				s := n.Status().Peering
				got := [...]uint64{s.PunchesConsistent, s.PunchesConsistentWon, s.PunchesConsistentLost, s.PunchesRandom, s.PunchesRandomWon, s.PunchesRandomLost}
				if want := [...]uint64{tt.consistent, tt.won, tt.lost, tt.random, tt.randomWon, tt.randomsLost}; got != want {
					t.Errorf("%s counts %v, want %v", name, got, want)
				}
			}
		})
	}
}

func TestBootstrapNodesAreCheckedOneByOne(t *testing.T) {
	w := newWorld(t, 3, simnet.Config{Seed: 52})
	good := netip.MustParseAddrPort(w.bootstrap[0])
	w.net.SetName("boot.example", netip.MustParseAddr("2001:db8::1"), good.Addr())
	w.net.SetName("six.example", netip.MustParseAddr("2001:db8::1"))
	h := w.host("client")
	n := w.node(h, hyperdht.Config{Bootstrap: []string{
		good.String(), "boot.example:49737", "198.51.100.1@boot.example:49737", "198.51.100.1:49737", "six.example:1", "nowhere.example:1",
	}})
	var list []hyperdht.BootstrapStatus
	h.Do(func() { n.CheckBootstrap(func(l []hyperdht.BootstrapStatus) { list = l }) })
	w.until("all are checked", 10*time.Second, func() bool { return list != nil })
	for i, want := range []struct {
		entry string
		addr  netip.AddrPort
		err   error
	}{
		{good.String(), good, nil},
		{"boot.example:49737", good, nil},
		{"198.51.100.1@boot.example:49737", good, nil},
		{"198.51.100.1:49737", netip.MustParseAddrPort("198.51.100.1:49737"), hyperdht.ErrTimeout},
		{"six.example:1", netip.AddrPort{}, hyperdht.ErrNoAddress},
	} {
		s := list[i]
		if s.Entry != want.entry || s.Addr != want.addr || !errors.Is(s.Err, want.err) {
			t.Errorf("%d: %+v", i, s)
		}
		if s.Err == nil && (s.RTT < 20*time.Millisecond || s.RTT > 60*time.Millisecond || s.Seen.Addr() != h.Addr()) {
			t.Errorf("%d: %+v", i, s)
		}
	}
	if s := list[5]; s.Err == nil || s.Addr.IsValid() {
		t.Errorf("a name that does not exist: %+v", s)
	}
}

func TestNodeTellsItsNATAndWhoSawIt(t *testing.T) {
	for _, s := range []struct {
		situation
		kind hyperdht.NATKind
	}{
		{situation{name: "home", nat: simnet.PortRestricted()}, hyperdht.NATConsistent},
		{situation{name: "carrier", nat: simnet.SymmetricRandom()}, hyperdht.NATRandom},
		{situation{name: "open", nat: simnet.Open()}, hyperdht.NATOpen},
	} {
		t.Run(s.name, func(t *testing.T) {
			w := newWorld(t, 12, simnet.Config{Seed: 53})
			h, n := w.settle("client", s.situation, clientSite, clientHost)
			var report *hyperdht.NATReport
			h.Do(func() {
				if err := n.ClassifyNAT(func(r hyperdht.NATReport) { report = &r }); err != nil {
					t.Fatal(err)
				}
			})
			w.until("there is a report", 10*time.Second, func() bool { return report != nil })
			status := n.NAT()
			if report.Kind != s.kind || status.Kind != s.kind {
				t.Errorf("kind %v, of the main socket %v, want %v", report.Kind, status.Kind, s.kind)
			}
			for _, list := range [][]hyperdht.NATSample{report.Samples, status.Samples} {
				for _, x := range list {
					if x.Seen.Addr() != clientSite || !x.From.IsValid() {
						t.Errorf("sample %v", x)
					}
				}
				if len(list) == 0 {
					t.Error("no samples")
				}
			}
			w.net.Run(time.Minute)
			if p := n.Status().Peering.Pool; p.Opened != p.Closed {
				t.Errorf("pool sockets left open: %+v", p)
			}
		})
	}
}
