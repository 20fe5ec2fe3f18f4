package sim

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/compact"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/mux"
	"github.com/dhtprom/dhtprom/hyperdht/muxrpc"
	"github.com/dhtprom/dhtprom/ports/host"
)

// thief knows the secret, as any client does, and registers the alias and the key of a client that is switched off. It
// claims to hold that key, with a signature by its own, and waits on the same connection to be scraped in its place.
func (a *attack) thief(victim *client) {
	m, w := a.machine("thief"), a.w
	keys := id.KeyPairFromSeed(id.Seed(w.seedOf("thief")))
	page := fmt.Appendf(nil, "%s%s\nstolen 1\n", keyLine, domain.PublicKey(keys.Public))
	a.again(5*time.Second, func() {
		m.host.Do(func() {
			conn := m.node.Connect(id.PublicKey(a.s.keys.Public), hyperdht.ConnectOptions{Keys: &keys})
			mx := mux.New(conn)
			mx.Handle(protocolMetrics, nil, func(*mux.Offer) {
				metrics := must(muxrpc.New(mx, muxrpc.Options{Protocol: protocolMetrics}))
				metrics.Respond(methodMetrics, func(_ []byte, reply func([]byte, error)) {
					reply(dht.MetricsReply{Success: true, Body: page}.Append(nil), nil)
				})
			})
			registration := must(muxrpc.New(mx, muxrpc.Options{Protocol: protocolAlias}))
			conn.OnStart(func() {
				offer := dht.SignOffer(keys, conn.HandshakeHash())
				request := dht.AliasRequest{
					Secret: w.secret, Offer: &offer,
					Register: domain.Register{Alias: victim.alias, Key: victim.keys.Public, Hostname: victim.name, Service: "simulated"},
				}
				_, _ = registration.Request(methodAlias, request.Append(nil), func([]byte, error) { a.thefts++ })
			})
		})
	})
}

// spy knows a secret and the key of a client with another identity. Without a proof that it holds the key, it registers that key under an
// alias of its own, so that the client's metrics would be scraped there.
func (a *attack) spy(victim *client, own domain.Alias) {
	m, w := a.machine("spy"), a.w
	keys := id.KeyPairFromSeed(id.Seed(w.seedOf("spy")))
	a.again(5*time.Second, func() {
		m.host.Do(func() {
			conn := m.node.Connect(id.PublicKey(a.s.keys.Public), hyperdht.ConnectOptions{Keys: &keys})
			registration := must(muxrpc.New(mux.New(conn), muxrpc.Options{Protocol: protocolAlias}))
			conn.OnStart(func() {
				request := dht.AliasRequest{Secret: w.secret, Register: domain.Register{Alias: own, Key: victim.keys.Public, Hostname: "spy", Service: "simulated"}}
				_, _ = registration.Request(methodAlias, request.Append(nil), func([]byte, error) { a.thefts++ })
			})
		})
	})
}

// The conversations of clients and scrapers (dht-prom-client and dht-prom-alias-rpc, index.js).
const (
	protocolMetrics, methodMetrics = "prometheus-metrics", "metrics"
	protocolAlias, methodAlias     = "register-alias", "alias"
)

// forger stores values at all nodes of the DHT without the token that a node gives in its replies to an address.
func (a *attack) forger() {
	m, w := a.w.settle("forger", open), a.w
	a.attackers = append(a.attackers, m)
	var sock host.Socket
	m.host.Do(func() { sock = must(m.host.OpenSocket(netip.AddrPort{})) })
	n := 0
	a.again(500*time.Millisecond, func() {
		n++
		value := fmt.Appendf(nil, "forged %d", n)
		a.forged = append(a.forged, id.Target(id.Hash(value)))
		m.host.Do(func() {
			for _, node := range w.nodes {
				to := netip.AddrPortFrom(node.host.Addr(), dhtPort)
				sock.Send(to, 0, forgedPut(to, value))
			}
		})
	})
}

// commandImmutablePut stores a value under its hash, commandImmutableGet asks for it (hyperdht lib/constants.js).
const (
	commandImmutablePut = 8
	commandImmutableGet = 9
	flagTarget          = 8
	flagValue           = 16
)

// forgedPut is a request to store a value with an invalid token.
func forgedPut(to netip.AddrPort, value []byte) []byte {
	return put(firstPut, to, value, make([]byte, 32))
}

// put is a request to store a value.
func put(tid uint16, to netip.AddrPort, value, token []byte) []byte {
	b := []byte{requestByte, flagToken | flagTarget | flagValue, byte(tid), byte(tid >> 8)}
	b = compact.AppendAddr(b, to)
	b = append(b, token...)
	b = compact.AppendUint(b, commandImmutablePut)
	target := id.Hash(value)
	b = append(b, target[:]...)
	return compact.AppendBytes(b, value)
}

// stored returns the number of forged values that can be found.
func (a *attack) stored() (found int) {
	asked := min(len(a.forged), 20)
	done := 0
	asker := a.w.nodes[0]
	for _, target := range a.forged[:asked] {
		asker.host.Do(func() {
			asker.node.ImmutableGet(target, func(_ []byte, err error) {
				done++
				if err == nil {
					found++
				}
			})
		})
	}
	a.w.until("the forged values have been looked for", startWithin, func() bool { return done == asked })
	return found
}

const (
	// mostValues is the number of immutable values that a node keeps at most: two generations of 32,768 (hyperdht lib/persistent.js).
	mostValues = 2 * 32_768
	// maxHoard is the number of values that the hoarders store, and hoarders their number: a node answers some hundred requests of each
	// host in a second, and one alone would not fill it.
	maxHoard = 80_000
	hoarders = 8
	// firstPut is the id of the first request to store a value. Those for tokens are counted up from 1.
	firstPut = 1 << 12
)

// hoard makes one node keep values, with valid tokens, until the node should be full.
func (a *attack) hoard(node *machine) {
	for i := range hoarders {
		a.hoarder(i, node)
	}
}

// hoarder stores the share of one host.
func (a *attack) hoarder(number int, node *machine) {
	m, w := a.w.settle(fmt.Sprintf("hoarder-%d", number), open), a.w
	m.isAttacker = true
	a.attackers = append(a.attackers, m)
	to := netip.AddrPortFrom(node.host.Addr(), dhtPort)
	var sock host.Socket
	var token []byte
	asked := uint16(0) // delayed answers come again, with old tokens
	next, waiting := uint16(firstPut), map[uint16]bool{}
	m.host.Do(func() {
		sock = must(m.host.OpenSocket(netip.AddrPort{}))
		sock.OnReceive(func(_ netip.AddrPort, b []byte) {
			if len(b) < 4 || b[0] != responseByte {
				return
			}
			tid := uint16(b[2]) | uint16(b[3])<<8
			if b[1]&flagFailed == 0 && waiting[tid] { // some answers come twice
				delete(waiting, tid)
				a.taken++
			}
			// Skip the kind, the flags, the id of the request and the local address.
			const head = 1 + 1 + 2 + 6
			if len(b) < head+64 || b[1]&(flagID|flagToken) != flagID|flagToken || tid != asked {
				return
			}
			token = append(token[:0], b[head+32:head+64]...)
		})
	})
	a.again(time.Second, func() {
		asked++
		b := compact.AppendAddr([]byte{requestByte, flagTarget, byte(asked), byte(asked >> 8)}, to)
		b = append(compact.AppendUint(b, commandImmutableGet), make([]byte, 32)...)
		m.host.Do(func() { sock.Send(to, 0, b) })
	})
	pace := w.opts.For * 4 / 5 / (maxHoard / 100) * hoarders
	a.again(pace, func() {
		if len(token) == 0 || a.hoarded >= maxHoard {
			return
		}
		m.host.Do(func() {
			for range 100 {
				a.hoarded++
				sock.Send(to, 0, put(next, to, fmt.Appendf(nil, "hoarded %d", a.hoarded), token))
				waiting[next] = true
				next++
			}
		})
	})
}
