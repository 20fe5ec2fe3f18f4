package natlab

import (
	"bufio"
	crand "crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/forge"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports"
	machine "github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/scrape"
)

// attackArgs are the arguments of the role "attack".
type attackArgs struct {
	Kind      string           // a key of attacks
	Rate      int              // datagrams, registrations or messages per second, over all senders
	Senders   []netip.Addr     // source addresses, all of this namespace
	Scraper   string           // public key, hex
	Target    []netip.AddrPort // destinations of datagrams, in turn
	Bootstrap []string
	Nodes     []netip.AddrPort // of the DHT
	Count     int              // connections
	Prepare   int              // datagrams made before the attack begins
}

// attacks prepare an attack, which start then begins. They count the datagrams they send.
var attacks = map[string]func(a attackArgs, sent *atomic.Int64) (start func(), err error){
	"handshakes": func(a attackArgs, sent *atomic.Int64) (func(), error) { return a.datagrams(a.handshakes(false), sent) },
	"invented":   func(a attackArgs, sent *atomic.Int64) (func(), error) { return a.datagrams(a.handshakes(true), sent) },
	"garbage":    func(a attackArgs, sent *atomic.Int64) (func(), error) { return a.datagrams(a.garbage(), sent) },
	"frames":     attackArgs.frames,
	"nonsense":   attackArgs.nonsense,
	"secrets":    attackArgs.secrets,
}

// attackRole prepares an attack and prints ready. With the first line of standard input it attacks, and prints each second
// how much it has sent.
func attackRole(args string) error {
	var a attackArgs
	if err := json.Unmarshal([]byte(args), &a); err != nil {
		return err
	}
	var sent atomic.Int64
	start, err := attacks[a.Kind](a, &sent)
	if err != nil {
		return err
	}
	fmt.Println(ready)
	bufio.NewScanner(os.Stdin).Scan()
	start()
	go func() {
		for range time.Tick(time.Second) {
			fmt.Println("sent", sent.Load())
		}
	}()
	untilOrphaned()
	return nil
}

func (a attackArgs) key() id.PublicKey {
	key, err := id.ParseKey32(a.Scraper)
	if err != nil {
		panic(err)
	}
	return key
}

// handshakes returns handshakes with different keys.
func (a attackArgs) handshakes(invented bool) func(i int) []byte {
	all := make([][]byte, a.Prepare)
	for i := range all {
		message, err := forge.NewMessage(a.key(), crand.Reader)
		if err != nil {
			panic(err)
		}
		h := forge.Handshake{Server: a.key(), Message: message}
		if invented {
			h.Peer = netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(1 + rand.IntN(99)), byte(rand.Uint32()), byte(rand.Uint32()), byte(rand.Uint32())}),
				uint16(1024+rand.IntN(60000)))
		}
		all[i] = h.Append(nil, a.Target[i%len(a.Target)], uint16(i))
	}
	return func(i int) []byte { return all[i%len(all)] }
}

// garbage returns random datagrams, of which every second one begins like one of the protocol's.
func (a attackArgs) garbage() func(i int) []byte {
	all := make([][]byte, a.Prepare)
	for i := range all {
		all[i] = make([]byte, 1+rand.IntN(1200))
		for j := range all[i] {
			all[i][j] = byte(rand.Uint32())
		}
		if begins := []byte{0x03, 0x13, 0xff}; i%2 == 0 { // a request, a response, a stream's packet
			all[i][0] = begins[i/2%len(begins)]
		}
	}
	return func(i int) []byte { return all[i%len(all)] }
}

// datagrams sends from all senders in turn, in bursts of a hundredth of a second.
func (a attackArgs) datagrams(next func(i int) []byte, sent *atomic.Int64) (start func(), err error) {
	var socks []*net.UDPConn
	for _, addr := range a.Senders {
		s, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
		if err != nil {
			return nil, err
		}
		socks = append(socks, s)
	}
	send := func() {
		begun, i := time.Now(), 0
		for range time.Tick(10 * time.Millisecond) {
			for due := int(time.Since(begun).Seconds() * float64(a.Rate)); i < due; i++ {
				_, _ = socks[i%len(socks)].WriteToUDPAddrPort(next(i), a.Target[i%len(a.Target)]) // a full buffer only weakens the attack
				sent.Add(1)
			}
		}
	}
	return func() { go send() }, nil
}

// connections keeps a number of connections under new keys from one node. tick runs for each open one, every ten
// milliseconds.
func (a attackArgs) connections(tick func(c *hyperdht.Connection)) (start func(), err error) {
	h := udp.New(udp.Options{})
	node, err := startNode(h, hyperdht.Config{Bootstrap: a.Bootstrap, Listen: netip.AddrPortFrom(a.Senders[0], 0)})
	if err != nil {
		return nil, err
	}
	var dial func()
	dial = func() {
		keys, err := id.NewKeyPair(crand.Reader)
		if err != nil {
			panic(err)
		}
		c := node.Connect(a.key(), hyperdht.ConnectOptions{Keys: &keys, RelayAddrs: a.Nodes})
		var again func()
		again = func() {
			if !c.Closed() {
				tick(c)
				h.AfterFunc(10*time.Millisecond, again)
			}
		}
		c.OnOpen(again)
		c.OnClose(func(error) { h.AfterFunc(100*time.Millisecond, dial) })
	}
	return func() {
		h.Post(func() {
			for range a.Count {
				dial()
			}
		})
	}, nil
}

// frames has callers that shake hands, announce a message of 16 MiB and send the first of it, all together at a rate in
// bytes per second. They call again when they have sent a part of it.
func (a attackArgs) frames(sent *atomic.Int64) (start func(), err error) {
	const part, chunk = 1 << 20, 1024
	pace := time.Second * chunk * time.Duration(a.Count) / time.Duration(a.Rate)
	call := func(i int) error {
		c, err := net.DialUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a.Senders[0], 0)), net.UDPAddrFromAddrPort(a.Target[0]))
		if err != nil {
			return err
		}
		defer c.Close()
		caller, err := forge.NewCaller(a.key(), crand.Reader)
		if err != nil {
			return err
		}
		_, _ = c.Write(caller.Handshake().Append(nil, a.Target[0], uint16(i)))
		answer := make([]byte, 2048)
		if err := c.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return err
		}
		n, err := c.Read(answer)
		if err != nil || caller.Answer(answer[:n]) != nil {
			return nil // the scraper may reject it
		}
		ticks := time.NewTicker(pace)
		defer ticks.Stop()
		bytes := append(caller.Open(), 0xff, 0xff, 0xff)
		for range part / chunk {
			for _, packet := range caller.Packets(bytes) {
				_, _ = c.Write(packet)
				sent.Add(1)
			}
			bytes = make([]byte, chunk)
			<-ticks.C
		}
		return nil
	}
	return func() {
		for i := range a.Count {
			go func() {
				for {
					if err := call(i); err != nil {
						fmt.Fprintln(os.Stderr, err)
						return
					}
				}
			}()
		}
	}, nil
}

// nonsense sends random messages over encrypted connections.
func (a attackArgs) nonsense(sent *atomic.Int64) (start func(), err error) {
	random := rand.NewChaCha8([32]byte{})
	return a.connections(func(c *hyperdht.Connection) {
		for range max(1, a.Rate/100/a.Count) {
			message := make([]byte, rand.IntN(1000))
			_, _ = random.Read(message) // never fails
			c.Send(message)
			sent.Add(1)
		}
	})
}

// secrets registers with wrong secrets, each time under a new key.
func (a attackArgs) secrets(sent *atomic.Int64) (start func(), err error) {
	n, err := dhtprom.NewNode(dhtprom.NodeConfig{Bootstrap: a.Bootstrap, Listen: netip.AddrPortFrom(a.Senders[0], 0)})
	if err != nil {
		return nil, err
	}
	register := func() {
		for range time.Tick(time.Second / time.Duration(a.Rate)) {
			keys := freshKeys()
			n.Host().Post(func() {
				n.Transport().RegisterAlias(ports.Registration{
					Scraper: domain.PublicKey(a.key()), Dial: keys, Secret: domain.SecretFrom(keys.Public),
					Register: domain.Register{Alias: "taken", Key: keys.Public, Hostname: "nowhere", Service: "none"},
				}, func(bool, error) {})
				sent.Add(1)
			})
		}
	}
	return func() { go register() }, nil
}

func freshKeys() domain.KeyPair {
	var seed [32]byte
	_, _ = crand.Read(seed[:]) // never fails
	return domain.KeyPairFromSeed(domain.SeedFrom(seed))
}

// registerArgs are the arguments of the role "register".
type registerArgs struct {
	Scraper   string // public key, hex
	Secret    string
	Alias     string
	Bootstrap []string
	Every     time.Duration // between two registrations
}

// registrations is the output of the role "register" each second.
type registrations struct {
	Begun, Done, Failed int
	Slowest             time.Duration // from the begin to the answer
	Reasons             map[string]int
}

// A registration fails where the client program would time out: a dial or the wait for the answer takes too long.
const (
	dialPatience   = 45 * time.Second
	answerPatience = 10 * time.Second
)

// registerRole is an honest client that serves metrics and registers its alias at short intervals, each time over a new
// connection under a new key, which is how an unknown client appears to a scraper. It begins with the first line of
// standard input and stops with the second.
func registerRole(args string) error {
	var a registerArgs
	if err := json.Unmarshal([]byte(args), &a); err != nil {
		return err
	}
	key, err := domain.ParsePublicKey(a.Scraper)
	if err != nil {
		return err
	}
	secret, err := domain.ParseSecret(a.Secret)
	if err != nil {
		return err
	}
	n, err := dhtprom.NewNode(dhtprom.NodeConfig{Bootstrap: a.Bootstrap})
	if err != nil {
		return err
	}
	own, listening := freshKeys(), make(chan error, 1)
	n.Host().Post(func() {
		_, err := n.Transport().ListenMetrics(ports.MetricsListen{
			Keys: own,
			OnOpen: func(ports.Conn) ports.MetricsHandlers {
				return ports.MetricsHandlers{OnScrape: func(_ domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
					return scrape.Send(n.Host(), scrape.Text([]byte("up_for_registrations 1\n")), nil, h)
				}}
			},
		}, func(err error) { listening <- err })
		if err != nil {
			listening <- err
		}
	})
	if err := <-listening; err != nil {
		return err
	}
	fmt.Println(ready)
	input := bufio.NewScanner(os.Stdin)
	input.Scan()
	r := registrations{Reasons: map[string]int{}}
	stop := make(chan struct{})
	go func() {
		input.Scan()
		close(stop)
	}()
	go func() {
		ticks := time.NewTicker(a.Every)
		defer ticks.Stop()
		for {
			n.Host().Post(func() { registerOnce(n, a.Alias, key, secret, own.Public, &r) })
			select {
			case <-ticks.C:
			case <-stop:
				return
			}
		}
	}()
	for range time.Tick(time.Second) {
		n.Host().Post(func() {
			text, err := json.Marshal(r)
			if err != nil {
				panic(err)
			}
			fmt.Println(string(text))
		})
	}
	return nil
}

// registerOnce registers on the loop and counts how it ends.
func registerOnce(n *dhtprom.Node, alias string, scraper domain.PublicKey, secret domain.Secret, own domain.PublicKey, r *registrations) {
	h := n.Host()
	begun, ended := h.Now(), false
	var cancel func()
	var patience machine.Timer
	finish := func(err error) {
		if ended {
			return
		}
		ended = true
		patience.Stop()
		r.Slowest = max(r.Slowest, time.Duration(h.Now()-begun))
		if err == nil {
			r.Done++
			return
		}
		r.Failed++
		r.Reasons[err.Error()]++
	}
	giveUp := func() {
		finish(errors.New("timed out"))
		cancel()
	}
	patience = h.AfterFunc(dialPatience, giveUp)
	r.Begun++
	cancel = n.Transport().RegisterAlias(ports.Registration{
		Scraper: scraper, Dial: freshKeys(), Secret: secret,
		Register: domain.Register{Alias: domain.Alias(alias), Key: own, Hostname: "lab", Service: "registrar"},
		OnOpen:   func(domain.Peer) { patience.Reset(answerPatience) },
	}, func(_ bool, err error) { finish(err) })
}
