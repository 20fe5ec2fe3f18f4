package doctor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/adapters/stun"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/mux"
	"github.com/dhtprom/dhtprom/hyperdht/muxrpc"
	"github.com/dhtprom/dhtprom/internal/golden"
	"github.com/dhtprom/dhtprom/ports"
)

// world is a private DHT with a scraper, and a place for the doctor.
type world struct {
	t         *testing.T
	net       *simnet.Net
	hosts     int
	bootstrap []string
	relays    []domain.PublicKey // used by the scraper
	stun      []string           // and its STUN servers
	busy      bool               // it rejects all registrations
	progress  strings.Builder    // of the last examination
}

// note adds what an operator sees during an examination: its time, the lines that it printed, and what is under way.
func (w *world) note(p Progress) {
	fmt.Fprintf(&w.progress, "%.3f s\n", time.Duration(p.At).Seconds())
	for line := range strings.Lines(p.Text) {
		w.progress.WriteString("  | " + line)
	}
	if p.Doing != "" {
		fmt.Fprintf(&w.progress, "  ... %s\n", p.Doing)
	}
}

func newWorld(t *testing.T, nodes int) *world {
	t.Helper()
	w := &world{t: t, net: simnet.New(simnet.Config{Seed: 7, Scribble: true, Link: simnet.Link{Delay: 10 * time.Millisecond}})}
	first := w.public("boot")
	at := netip.AddrPortFrom(first.Addr(), 49737)
	w.bootstrap = []string{at.String()}
	all := []*hyperdht.Node{w.node(first, hyperdht.Config{Bootstrap: []string{}, PublicAddr: at})}
	for i := 1; i < nodes; i++ {
		all = append(all, w.node(w.public(fmt.Sprint("node", i)), hyperdht.Config{Mode: hyperdht.Persistent, Reachable: true}))
	}
	w.until("the DHT is up", time.Minute, func() bool {
		return !slices.ContainsFunc(all, func(n *hyperdht.Node) bool { s := n.Status(); return !s.Ready || s.Ephemeral })
	})
	return w
}

func (w *world) public(name string) *simnet.Host {
	w.hosts++
	return w.net.AddHost(name, netip.AddrFrom4([4]byte{100, 128, 0, byte(w.hosts)}))
}

// behind returns a host with a router of its own.
func (w *world) behind(name string, nat simnet.NAT) *simnet.Host {
	w.hosts++
	site, inside := netip.AddrFrom4([4]byte{81, 2, 3, byte(w.hosts)}), netip.AddrFrom4([4]byte{192, 168, byte(w.hosts), 10})
	if nat.Mapping == simnet.Never {
		site, inside = netip.Addr{}, site
	}
	return w.net.AddRouter(name+"'s router", nat, site).AddHost(name, inside)
}

func (w *world) node(h *simnet.Host, cfg hyperdht.Config) *hyperdht.Node {
	w.t.Helper()
	if cfg.Bootstrap == nil {
		cfg.Bootstrap = w.bootstrap
	}
	var n *hyperdht.Node
	h.Do(func() {
		var err error
		if n, err = hyperdht.New(h, cfg); err != nil {
			w.t.Fatal(err)
		}
	})
	return n
}

func (w *world) until(what string, within time.Duration, cond func() bool) {
	w.t.Helper()
	if !w.net.RunUntil(cond, within) {
		w.t.Fatalf("not within %v: %s", within, what)
	}
}

func keys(b byte) domain.KeyPair { return domain.KeyPairFromSeed(domain.SeedFrom([32]byte{b})) }

var (
	scraperKeys = keys(2)
	clientKeys  = keys(3)
	relayKeys   = keys(4)
	secret      = domain.SecretFrom([32]byte{7, 1})
	otherSecret = domain.SecretFrom([32]byte{8, 1})
)

// scraper listens for registrations on a host; it knows one secret.
func (w *world) scraper(h *simnet.Host, admit bool) *dht.Transport {
	w.t.Helper()
	probe, err := stun.New(h, stun.Config{Servers: w.stun})
	if err != nil {
		w.t.Fatal(err)
	}
	n := w.node(h, hyperdht.Config{Probe: probe})
	t := dht.New(h, n, dht.Config{RelayThrough: w.relays})
	w.until("the scraper's node is ready", time.Minute, n.Ready)
	announced := false
	h.Do(func() {
		answer := func(req ports.AliasRequest, reply func(ports.AliasReply)) {
			if !domain.Accepts([]domain.Secret{secret}, req.Secret) {
				reply(ports.AliasReply{Message: "Unauthorised"})
				return
			}
			reply(ports.AliasReply{Success: true})
		}
		_, err := t.ListenAliases(ports.AliasListen{
			Keys:  scraperKeys,
			Admit: func(domain.PublicKey, domain.HandshakePayload, netip.AddrPort) bool { return admit },
			OnOpen: func(ports.Conn) ports.AliasHandlers {
				if w.busy {
					return ports.AliasHandlers{OnLeave: tooMany}
				}
				return ports.AliasHandlers{OnRegister: answer, OnLeave: answer}
			},
		}, func(error) { announced = true })
		if err != nil {
			w.t.Fatal(err)
		}
	})
	w.until("the scraper is announced", time.Minute, func() bool { return announced })
	return t
}

func tooMany(_ ports.AliasRequest, reply func(ports.AliasReply)) {
	reply(ports.AliasReply{Message: "Too many requests"})
}

func TestSecretIsNotTriedWithAScraperThatDoesNotKnowGoodbyes(t *testing.T) {
	w := newWorld(t, 12)
	h := w.behind("scraper", simnet.PortRestricted())
	n := w.node(h, hyperdht.Config{})
	ready, registered := false, false
	h.Do(func() {
		_, err := n.Listen(hyperdht.ListenOptions{
			Keys: id.KeyPairFromSeed(id.Seed(scraperKeys.Seed.Reveal())),
			OnConnection: func(c *hyperdht.Connection) {
				rpc, err := muxrpc.New(mux.New(c), muxrpc.Options{Protocol: "register-alias"})
				if err != nil {
					t.Error(err)
					return
				}
				rpc.Respond("alias", func([]byte, func([]byte, error)) { registered = true })
			},
		}, func(error) { ready = true })
		if err != nil {
			t.Fatal(err)
		}
	})
	w.until("the scraper is announced", time.Minute, func() bool { return ready })
	r := w.examine(w.behind("client", simnet.PortRestricted()), Config{Targets: theScraper()})
	check(t, r, "note secret_untested", "the secret was not tried", "of the first generation")
	if registered {
		t.Error("the doctor has registered something")
	}
}

// relay runs a blind relay, which the scraper uses from then on.
func (w *world) relay() {
	h := w.public("relay")
	n := w.node(h, hyperdht.Config{})
	ready := false
	h.Do(func() {
		seed := id.KeyPairFromSeed(id.Seed(relayKeys.Seed.Reveal()))
		if _, err := n.ServeRelay(hyperdht.RelayConfig{Keys: seed}, func(error) { ready = true }); err != nil {
			w.t.Fatal(err)
		}
	})
	w.until("the relay is announced", time.Minute, func() bool { return ready })
	w.relays = []domain.PublicKey{relayKeys.Public}
}

// examine runs the doctor to its end and checks that nothing of it remains.
func (w *world) examine(h *simnet.Host, cfg Config) *Report {
	w.t.Helper()
	if cfg.Node.Bootstrap == nil {
		cfg.Node.Bootstrap = w.bootstrap
	}
	cfg.Clock = h.Clock()
	var report *Report
	w.progress.Reset()
	var streamed strings.Builder
	cfg.OnProgress = func(p Progress) {
		streamed.WriteString(p.Text)
		w.note(p)
	}
	h.Do(func() {
		if err := Examine(h, cfg, func(r *Report) { report = r }); err != nil {
			w.t.Fatal(err)
		}
	})
	w.until("the doctor is done", 5*time.Minute, func() bool { return report != nil })
	var whole strings.Builder
	if err := report.WriteText(&whole); err != nil || whole.String() != streamed.String() {
		w.t.Errorf("the parts of the text are\n%s\nwant\n%s\n%v", streamed.String(), whole.String(), err)
	}
	w.net.Run(time.Minute)
	if h.Timers() != 0 || h.Sockets() != 0 {
		w.t.Errorf("%d timers and %d sockets left", h.Timers(), h.Sockets())
	}
	return report
}

func theScraper() []Target {
	return []Target{{Name: "the scraper", Key: scraperKeys.Public, Secret: secret}}
}

// keep compares the last examination's report and progress with the texts in testdata.
func (w *world) keep(t *testing.T, name string, r *Report) {
	t.Helper()
	var asText, asJSON strings.Builder
	if err := r.WriteText(&asText); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteJSON(&asJSON); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", strings.ReplaceAll(name, " ", "_"))
	golden.File(t, path+".txt", asText.String())
	golden.File(t, path+".json", asJSON.String())
	if slices.Contains([]string{"no problem", "UDP is blocked", "the scraper has gone"}, name) {
		golden.File(t, path+".progress", w.progress.String())
	}
}

// codes lists the codes of the findings.
func codes(r *Report) string {
	var list []string
	for _, f := range r.Findings {
		list = append(list, f.Level+" "+f.Code)
	}
	return strings.Join(list, ", ")
}

// check compares findings and steps, and checks that text and JSON are equivalent.
func check(t *testing.T, r *Report, findings string, says ...string) {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	all := b.String()
	if got := codes(r); got != findings {
		t.Errorf("findings %q, want %q\n%s", got, findings, all)
	}
	if r.OK == strings.Contains(findings, "problem") || r.OK != strings.Contains(all, "No problems found.") {
		t.Errorf("ok is %v", r.OK)
	}
	for _, s := range says {
		if !strings.Contains(all, s) {
			t.Errorf("%q is not said in\n%s", s, all)
		}
	}
	b.Reset()
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var read struct {
		OK       bool
		Findings []struct{ Level, Code, Text, Advice string }
		Targets  []struct {
			Secret     string
			Connection struct{ Steps, Ways []struct{ Step, Text string } }
		}
	}
	if err := json.Unmarshal(b.Bytes(), &read); err != nil {
		t.Fatal(err)
	}
	if read.OK != r.OK || len(read.Findings) != len(r.Findings) || len(read.Targets) != len(r.Targets) {
		t.Errorf("JSON says other things: %s", b.Bytes())
	}
	for i, f := range read.Findings {
		if !strings.Contains(all, f.Text) || !strings.Contains(all, f.Advice) || f.Code != r.Findings[i].Code {
			t.Errorf("the text leaves out %+v", f)
		}
	}
	for _, x := range read.Targets {
		for _, s := range slices.Concat(x.Connection.Steps, x.Connection.Ways) {
			if !strings.Contains(all, s.Text) {
				t.Errorf("the text leaves out %+v", s)
			}
		}
	}
}

func TestAllIsWellBetweenTwoHomes(t *testing.T) {
	w := newWorld(t, 12)
	w.scraper(w.behind("scraper", simnet.PortRestricted()), true)
	r := w.examine(w.behind("client", simnet.PortRestricted()), Config{Targets: theScraper()})
	check(t, r, "", "the secret is accepted", "through punched holes", "encryption established", "(consistent)")
	w.keep(t, "no problem", r)
}

func TestEachCauseOfFailureHasItsWords(t *testing.T) {
	home, carrier := simnet.PortRestricted(), simnet.SymmetricRandom()
	var known domain.Address
	knows := func(_ *world, scraper, _ *simnet.Host) {
		known = domain.Address{Host: scraper.Addr().String(), Port: 49637}
	}
	tests := []struct {
		name            string
		scraper, client simnet.NAT
		nodes           int // 0: twelve
		before          func(w *world, scraper, client *simnet.Host)
		closed          bool // the scraper admits no peer
		relay           bool // the scraper has a relay
		busy            bool // the scraper is
		cfg             func(c *Config)
		findings        string
		says            []string
	}{
		{
			name: "both NATs random", scraper: carrier, client: carrier,
			findings: "problem both_nats_random, note nat_random",
			says:     []string{"this machine's NAT is random, that of the scraper is random", "hole punching failed: both NATs give", "--dht.relay"},
		},
		{
			name: "both NATs random and a relay", scraper: carrier, client: carrier, relay: true,
			findings: "note nat_random", says: []string{"the relay carries it", "over the relay at", "connected (relayed)"},
		},
		{
			name: "one NAT random", scraper: home, client: carrier,
			findings: "note nat_random", says: []string{"from 256 sockets", "the secret is accepted"},
		},
		{
			name: "UDP is blocked", scraper: home, client: simnet.UDPBlocked(),
			cfg:      func(c *Config) { c.Node.STUN = []string{"100.128.0.2:49737"} },
			findings: "problem udp_blocked", says: []string{"FAIL  100.128.0.1:49737: no answer", "the DHT cannot be entered", "Allow outgoing UDP"},
		},
		{
			name: "one port is let out, to a scraper with a known address", scraper: simnet.Open(), client: simnet.OnePort(home, 49637), before: knows,
			cfg:      func(c *Config) { c.Targets[0].Addrs = []domain.Address{known} },
			findings: "warning dht_unreachable", says: []string{"the DHT cannot be entered", "the secret is accepted", "reached at its known address"},
		},
		{
			name: "UDP is blocked, and the scraper has a known address", scraper: simnet.Open(), client: simnet.UDPBlocked(), before: knows,
			cfg:      func(c *Config) { c.Targets[0].Addrs = []domain.Address{known} },
			findings: "problem bootstrap_unreachable, problem known_address_silent", says: []string{"No answer from the scraper at its known address"},
		},
		{
			name: "the bootstrap node is elsewhere", scraper: home, client: home,
			cfg:      func(c *Config) { c.Node.Bootstrap = []string{"198.51.100.9:49737"} },
			findings: "problem bootstrap_unreachable", says: []string{"FAIL  198.51.100.9:49737: no answer", "Check the address and port in --dht.bootstrap"},
		},
		{
			name: "one bootstrap node is elsewhere", scraper: home, client: home,
			cfg:      func(c *Config) { c.Node.Bootstrap = []string{"100.128.0.1:49737", "198.51.100.9:49737"} },
			findings: "warning bootstrap_partly_silent", says: []string{"No answer from 198.51.100.9:49737"},
		},
		{
			name: "wrong key", scraper: home, client: home,
			cfg:      func(c *Config) { c.Targets[0].Key = keys(99).Public },
			findings: "problem not_announced", says: []string{"not announced: no DHT node has its record", "no DHT node knows the other side's key", "[PEER_NOT_FOUND]", "Compare --scraper"},
		},
		{
			name: "the scraper refuses us", scraper: home, client: home, closed: true,
			findings: "problem server_silent", says: []string{"no handshake back through", "its firewall rejects this peer"},
		},
		{
			name: "the scraper has gone", scraper: home, client: home,
			before:   func(w *world, scraper, _ *simnet.Host) { scraper.Crash() },
			findings: "problem server_silent", says: []string{"announced: 3 DHT nodes", "has just stopped"},
		},
		{
			name: "secret refused", scraper: home, client: home,
			cfg:      func(c *Config) { c.Targets[0].Secret = otherSecret },
			findings: "problem secret_refused", says: []string{"encryption established", "the secret is rejected", "--secret-file"},
		},
		{
			name: "a busy scraper", scraper: home, client: home, busy: true,
			findings: "warning secret_untested", says: []string{"the secret was not tried", `it answers "Too many requests"`},
		},
		{
			name: "the clock jumps", scraper: home, client: carrier,
			before: func(w *world, _, client *simnet.Host) {
				client.AfterFunc(time.Second, func() { client.Clock().Jump(time.Hour) })
			},
			findings: "warning clock_jumped, note nat_random", says: []string{"jumped by 1h0m0s"},
		},
		{
			name: "nothing gets through between the two", scraper: home, client: home,
			before: func(w *world, scraper, client *simnet.Host) {
				w.net.Block(scraper, client)
				w.net.Block(client, scraper)
			},
			findings: "problem punch_failed", says: []string{"to each other's address", "none arrived"},
		},
		{
			name: "an open scraper whose packets do not arrive", scraper: simnet.Open(), client: home,
			before:   func(w *world, scraper, client *simnet.Host) { w.net.Block(scraper, client) },
			findings: "problem path_dead", says: []string{"path: directly to", "no packet came back on it"},
		},
		{
			name: "two homes and a relay", scraper: home, client: home, relay: true,
			says: []string{"through punched holes to 81.2.3.14:62572: selected", "over a blind relay: no answer; tried at"},
		},
		{
			name: "direct paths only", scraper: home, client: home, relay: true,
			cfg:  func(c *Config) { c.Node.Paths.Default = domain.DirectOnly },
			says: []string{"over a blind relay: not tried, an option of this side excludes it"},
		},
		{
			name: "a relay only", scraper: home, client: home, relay: true,
			cfg:  func(c *Config) { c.Node.Paths.Default = domain.RelayOnly },
			says: []string{"through punched holes: not tried, an option of this side excludes it", "over the relay at 100.128.0.13:49637: selected"},
		},
		{
			name: "a path that works after six seconds", scraper: home, client: home,
			before: func(w *world, scraper, client *simnet.Host) {
				w.net.Block(scraper, client)
				w.net.Block(client, scraper)
				client.AfterFunc(6*time.Second, w.net.Heal)
			},
			findings: "warning slow", says: []string{"The connection took 6.", "The steps above show where the time went"},
		},
		{
			name: "a DHT of one node", scraper: home, client: home, nodes: 1,
			findings: "problem nat_unclassified, warning nat_unknown", says: []string{"too few samples", "bootstrap --stun"},
		},
		{
			name: "a DHT of one node and only we have STUN", scraper: home, client: home, nodes: 1,
			before:   func(w *world, _, _ *simnet.Host) { w.stunServers() },
			cfg:      func(c *Config) { c.Node.STUN = []string{"100.128.9.1", "100.128.9.2"} },
			findings: "problem nat_unclassified", says: []string{"(consistent)", "The NAT of the scraper could not be classified"},
		},
		{
			name: "too little time", scraper: home, client: carrier,
			cfg:      func(c *Config) { c.Timeout = 100 * time.Millisecond },
			findings: "problem timeout, note nat_random", says: []string{"It took longer than 100.0 ms", "--timeout", "through punched holes: no answer; tried at"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			nodes := tt.nodes
			if nodes == 0 {
				nodes = 12
			}
			w := newWorld(t, nodes)
			if tt.relay {
				w.relay()
			}
			w.busy = tt.busy
			scraper := w.behind("scraper", tt.scraper)
			w.scraper(scraper, !tt.closed)
			client := w.behind("client", tt.client)
			if tt.before != nil {
				tt.before(w, scraper, client)
			}
			cfg := Config{Targets: theScraper()}
			if tt.cfg != nil {
				tt.cfg(&cfg)
			}
			r := w.examine(client, cfg)
			check(t, r, tt.findings, tt.says...)
			w.keep(t, tt.name, r)
		})
	}
}

// stunServers starts two nodes of separate DHTs that answer STUN on their ports.
func (w *world) stunServers() {
	for _, ip := range []string{"100.128.9.1", "100.128.9.2"} {
		h := w.net.AddHost(ip, netip.MustParseAddr(ip))
		probe, err := stun.New(h, stun.Config{Responder: stun.NewResponder(h, stun.ResponderConfig{})})
		if err != nil {
			w.t.Fatal(err)
		}
		w.node(h, hyperdht.Config{Bootstrap: []string{}, PublicAddr: netip.AddrPortFrom(h.Addr(), 3478), Probe: probe})
	}
}

func TestSTUNServersAreJudgedOneByOne(t *testing.T) {
	w := newWorld(t, 1)
	w.stunServers()
	w.net.SetName("stun.example", netip.MustParseAddr("100.128.9.1"))
	w.stun = []string{"100.128.9.1", "100.128.9.2"}
	w.scraper(w.behind("scraper", simnet.PortRestricted()), true)
	r := w.examine(w.behind("client", simnet.PortRestricted()), Config{
		Targets: theScraper(),
		Node:    dhtprom.NodeConfig{STUN: []string{"stun.example", "100.128.9.2", "198.51.100.9:3478", "nowhere.example"}},
	})
	check(t, r, "warning stun_silent", "stun.example at 100.128.9.1:3478 answers in 20.6 ms", "FAIL  198.51.100.9:3478: no answer", "(consistent)")
	w.keep(t, "STUN", r)
}

func TestScraperIsExaminedFromItsOwnMachine(t *testing.T) {
	own := []Target{{Name: "this scraper", Key: scraperKeys.Public, Secret: secret, Own: true}}
	for _, runs := range []bool{true, false} {
		t.Run(fmt.Sprint("runs ", runs), func(t *testing.T) {
			w := newWorld(t, 12)
			machine := w.public("scraper")
			if !runs {
				r := w.examine(machine, Config{Targets: own})
				check(t, r, "problem not_announced", "Start dhtprom-scraper with the same")
				return
			}
			// Another process of the same machine is a separate host here.
			home := w.net.AddRouter("home", simnet.PortRestricted(), netip.MustParseAddr("81.2.3.99"))
			w.scraper(home.AddHost("scraper at home", netip.MustParseAddr("192.168.1.10")), true)
			r := w.examine(home.AddHost("doctor", netip.MustParseAddr("192.168.1.11")), Config{Targets: own})
			check(t, r, "note own_machine", "same public address", "within this network to 192.168.1.10:49637: selected; tried at", "the secret is accepted")
		})
	}
}

func TestClientIsExaminedUnderTheScrapersKey(t *testing.T) {
	for _, tt := range []struct {
		name     string
		keys     domain.KeyPair
		findings string
		says     string
	}{
		{"admitted", scraperKeys, "", "and it answers"},
		{"refused", keys(77), "problem server_silent", "that its --scraper is this scraper's key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, 12)
			h := w.behind("client", simnet.PortRestricted())
			n := w.node(h, hyperdht.Config{})
			transport := dht.New(h, n, dht.Config{})
			ready := false
			h.Do(func() {
				_, err := transport.ListenMetrics(ports.MetricsListen{
					Keys: clientKeys,
					Admit: func(k domain.PublicKey, _ domain.HandshakePayload, _ netip.AddrPort) bool {
						return k == scraperKeys.Public
					},
					OnOpen: func(ports.Conn) ports.MetricsHandlers { return ports.MetricsHandlers{} },
				}, func(error) { ready = true })
				if err != nil {
					t.Fatal(err)
				}
			})
			w.until("the client is announced", time.Minute, func() bool { return ready })
			r := w.examine(w.behind("scraper", simnet.PortRestricted()), Config{Targets: []Target{
				{Name: "the client", Key: clientKeys.Public, Keys: tt.keys},
			}})
			check(t, r, tt.findings, tt.says)
		})
	}
}
