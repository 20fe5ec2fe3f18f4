package hyperdht_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/hyperdht/mux"
	"github.com/dhtprom/dhtprom/ports/host"
)

// A relay answers for many paths of one client at once, on one connection: when it has been off, for example.
func TestRelayServesManyPathsOfOneClientAtOnce(t *testing.T) {
	w := newRelayWorld(t, 20, hyperdht.RelayConfig{})
	w.net.SetLinks(w.sh, w.rh, simnet.Link{Delay: 100 * time.Millisecond})
	const paths = 200
	var tokens [][32]byte
	for i := range byte(paths) {
		tokens = append(tokens, [32]byte{i})
	}
	answers, lost := 0, error(nil)
	w.sh.Do(func() {
		c := w.sn.Connect(w.relay.PublicKey(), hyperdht.ConnectOptions{})
		m := mux.New(c)
		m.OnClose(func(err error) { lost = err })
		own := c.PublicKey()
		ch, err := m.Open(mux.ChannelOptions{
			Protocol: "blind-relay", ID: own[:], Messages: []func([]byte){func([]byte) { answers++ }, func([]byte) {}},
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, token := range tokens {
			ch.Send(0, wire.RelayPair{Initiator: true, Token: token, ID: uint32(i)}.Append(nil))
		}
	})
	w.until("all wait", 10*time.Second, func() bool { return w.relay.Stats().Waiting == paths })
	for i, token := range tokens {
		w.relayClient(keyPair(byte(30+i)), token)
	}
	w.until("all are answered", 10*time.Second, func() bool { return answers == paths || lost != nil })
	if lost != nil {
		t.Errorf("%d paths were answered, then: %v; relay %+v", answers, lost, w.relay.Stats())
	}
}

// relayClients connects a number of clients, which the server cannot reach directly, each on a host of its own. closed
// counts those whose connections have ended.
func (w *relayWorld) relayClients(number int, server id.PublicKey, opts hyperdht.ConnectOptions) (open, closed *int) {
	w.t.Helper()
	open, closed = new(int), new(int)
	var hosts []*simnet.Host
	var nodes []*hyperdht.Node
	for i := range number {
		h := w.host(fmt.Sprintf("client-%d", i))
		n := w.node(h, hyperdht.Config{NoQuickFirewall: true})
		w.net.Block(w.sh, h)
		w.net.Block(h, w.sh)
		hosts, nodes = append(hosts, h), append(nodes, n)
	}
	for _, n := range nodes {
		w.until("a client is ready", time.Minute, n.Ready)
	}
	for i, h := range hosts {
		h.Do(func() {
			c := nodes[i].Connect(server, opts)
			c.OnOpen(func() { *open++ })
			c.OnClose(func(error) { *closed++ })
		})
	}
	return open, closed
}

// The peers of a node that leaves notice it at once, on all paths over a relay.
func TestNodeThatLeavesTellsThoseBehindARelay(t *testing.T) {
	for _, leave := range []struct {
		name string
		do   func(*hyperdht.Node)
	}{
		{"close", func(n *hyperdht.Node) { n.Close(func() {}) }},
		{"suspend", func(n *hyperdht.Node) { n.Suspend(func() {}) }},
	} {
		t.Run(leave.name, func(t *testing.T) {
			w := newRelayWorld(t, 21, hyperdht.RelayConfig{})
			server := w.listen(w.sh, w.sn, hyperdht.ListenOptions{Keys: keyPair(1), RelayThrough: []id.PublicKey{w.relay.PublicKey()}})
			const clients = 5
			open, closed := w.relayClients(clients, server.PublicKey(), hyperdht.ConnectOptions{})
			w.until("all are connected", 30*time.Second, func() bool { return *open == clients })
			w.net.Run(5 * time.Second)
			w.sh.Do(func() { leave.do(w.sn) })
			w.net.Run(time.Second)
			if *closed != clients {
				t.Errorf("%d of %d clients have heard that the server has gone", *closed, clients)
			}
			w.until("the relay has forgotten them", 30*time.Second, func() bool {
				s := w.relay.Stats()
				return s.Active == 0 && s.Sessions == 0
			})
		})
	}
}

// reserved connects the client and the server directly, with the relay in reserve on both sides.
func (w *relayWorld) reserved(server hyperdht.ListenOptions) (c, s *hyperdht.Connection) {
	w.t.Helper()
	w.openDirectPath()
	server.Keys, server.RelayThrough = keyPair(1), []id.PublicKey{w.relay.PublicKey()}
	server.OnConnection = func(accepted *hyperdht.Connection) {
		s = accepted
		s.OnMessage(func(b []byte) { s.Send(b) })
	}
	key := w.listen(w.sh, w.sn, server).PublicKey()
	w.ch.Do(func() { c = w.cn.Connect(key, hyperdht.ConnectOptions{}) })
	w.until("both sides keep the relay in reserve", time.Minute, func() bool { return w.inReserve(1) })
	return c, s
}

func (w *relayWorld) inReserve(n int) bool {
	return w.cn.Status().Peering.SecondWays == n && w.sn.Status().Peering.SecondWays == n
}

// Each side that has lost the relay tries again at times of its own, and they may miss each other forever.
func TestSidesThatHaveLostTheRelayMeetThereAgain(t *testing.T) {
	for off := 10 * time.Minute; off < 20*time.Minute; off += time.Minute {
		w := newRelayWorld(t, 22, hyperdht.RelayConfig{})
		w.reserved(hyperdht.ListenOptions{})
		w.net.SetLinks(w.ch, w.rh, simnet.Link{Loss: 1})
		w.net.Run(off)
		w.net.SetLinks(w.ch, w.rh, simnet.Link{Delay: 10 * time.Millisecond})
		w.until("both sides keep the relay in reserve again", 25*time.Minute, func() bool { return w.inReserve(1) })
	}
}

// A side that has lost the relay comes back, and the other one, whose pair has ended without a word, comes too.
func TestSideThatKeptTheRelayComesToTheOneThatLostIt(t *testing.T) {
	w := newRelayWorld(t, 30, hyperdht.RelayConfig{})
	w.reserved(hyperdht.ListenOptions{})
	w.net.SetLinks(w.ch, w.rh, simnet.Link{Loss: 1})
	w.until("the client has lost the relay", 20*time.Second, func() bool { return w.cn.Status().Peering.SecondWays == 0 })
	w.net.SetLinks(w.ch, w.rh, simnet.Link{Delay: 10 * time.Millisecond})
	w.until("both sides keep the relay in reserve again", 20*time.Second, func() bool { return w.inReserve(1) })
}

// callSide returns what forges the message that calls the server to the relay. asked counts the questions of the server on the relay.
func (w *relayWorld) callSide() (call func(), asked *int) {
	w.t.Helper()
	var message []byte
	var at netip.AddrPort
	asked = new(int)
	w.net.SetFilter(func(d simnet.Datagram) bool {
		if len(d.Payload) < udx.HeaderSize || d.Payload[0] != 0xff {
			return true
		}
		switch to := d.To.Addr(); {
		case d.From.Addr() == w.ch.Addr() && to == w.sh.Addr():
			id, _ := udx.PeekStreamID(d.Payload)
			message, at = udx.Header{Flags: udx.FlagMessage, StreamID: id}.Append(nil), d.To
		case d.From.Addr() == w.sh.Addr() && to == w.rh.Addr() && udx.PeekFlags(d.Payload)&udx.FlagHeartbeat != 0:
			*asked++
		}
		return true
	})
	w.until("the stream's id is known", 10*time.Second, func() bool { return message != nil })
	stranger := w.host("stranger")
	var sock host.Socket
	stranger.Do(func() { sock, _ = stranger.OpenSocket(netip.AddrPort{}) })
	return func() { stranger.Do(func() { sock.Send(at, 0, message) }) }, asked
}

// The message that calls a side to the relay may be late or forged: a relay that answers is asked now and then, and stays in reserve.
func TestRelayThatAnswersIsKept(t *testing.T) {
	w := newRelayWorld(t, 30, hyperdht.RelayConfig{})
	w.reserved(hyperdht.ListenOptions{})
	call, asked := w.callSide()
	matched := w.relay.Stats().Matched
	for range 500 {
		call()
		w.net.Run(200 * time.Millisecond)
		if !w.inReserve(1) {
			t.Fatal("the relay has been given up")
		}
	}
	if w.relay.Stats().Matched != matched || *asked < 15 || *asked > 30 {
		t.Errorf("paired %d times more, asked %d times", w.relay.Stats().Matched-matched, *asked)
	}
}

// pairStrangers has two further clients of the relay ask for a pair.
func (w *relayWorld) pairStrangers() {
	w.t.Helper()
	w.relayClient(keyPair(30), [32]byte{1})
	initiator := keyPair(31)
	w.ch.Do(func() {
		c := w.cn.Connect(w.relay.PublicKey(), hyperdht.ConnectOptions{Keys: &initiator})
		ch, err := mux.New(c).Open(mux.ChannelOptions{
			Protocol: "blind-relay", ID: initiator.Public[:], Messages: []func([]byte){func([]byte) {}, func([]byte) {}},
		})
		if err != nil {
			w.t.Fatal(err)
		}
		ch.Send(0, wire.RelayPair{Initiator: true, Token: [32]byte{1}}.Append(nil))
	})
}

// A pair that was in reserve when the relay last looked, and carries its connection since, does not give way.
func TestRelayKeepsAPairThatHasTakenOver(t *testing.T) {
	w := newRelayWorld(t, 30, hyperdht.RelayConfig{MaxPairs: 1})
	c, _ := w.reserved(hyperdht.ListenOptions{})
	w.until("the relay sees that it is in reserve", 3*time.Minute, func() bool { return w.relay.Stats().Reserve == 1 })
	w.net.Block(w.sh, w.ch)
	w.net.Block(w.ch, w.sh)
	for range 20 {
		w.ch.Do(func() { c.Send(make([]byte, 5000)) })
		w.net.Run(time.Second)
	}
	if s := w.relay.Stats(); c.Path() != hyperdht.PathRelayed || s.Reserve != 1 {
		t.Fatalf("path %v, relay %+v", c.Path(), s)
	}
	w.pairStrangers()
	w.net.Run(5 * time.Second)
	if s := w.relay.Stats(); c.Closed() || c.Path() != hyperdht.PathRelayed || s.Refused != 1 || s.Crowded != 0 {
		t.Errorf("closed %v, path %v, relay %+v", c.Closed(), c.Path(), s)
	}
}

// A relay that had no room for a reserve is not asked again for ten minutes, whatever the other side says.
func TestFullRelayIsLeftAlone(t *testing.T) {
	w := newRelayWorld(t, 30, hyperdht.RelayConfig{MaxPairs: 1})
	w.reserved(hyperdht.ListenOptions{})
	w.net.Run(2 * time.Minute) // the relay has seen that it carries next to nothing
	call, _ := w.callSide()
	w.pairStrangers()
	w.until("the relay has ended the reserve", 10*time.Second, func() bool { return w.inReserve(0) })
	before := w.sn.Status().Peering.RelayAttempts
	for range 200 {
		call()
		w.net.Run(time.Second)
	}
	if n := w.sn.Status().Peering.RelayAttempts - before; n != 0 {
		t.Errorf("the server has joined the relay %d times", n)
	}
}

// A relay that pairs, and is lost again each time before it has answered twice, is joined later each time.
func TestRelayThatIsLostAgainIsJoinedLater(t *testing.T) {
	w := newRelayWorld(t, 30, hyperdht.RelayConfig{})
	w.reserved(hyperdht.ListenOptions{})
	link := simnet.Link{Delay: 10 * time.Millisecond}
	dead := link
	dead.Loss = 1
	set := func(l simnet.Link) {
		w.net.SetLinks(w.ch, w.rh, l)
		w.net.SetLinks(w.sh, w.rh, l)
	}
	var waits []time.Duration
	for range 5 {
		set(dead)
		w.until("both sides have lost the relay", time.Minute, func() bool { return w.inReserve(0) })
		set(link)
		lost := w.net.Now()
		w.until("both sides keep the relay in reserve again", 5*time.Minute, func() bool { return w.inReserve(1) })
		waits = append(waits, w.net.Now()-lost)
	}
	for i, wait := range waits[1:] {
		if wait < waits[i]*3/2 {
			t.Errorf("the relay is joined after %v", waits)
			break
		}
	}
}
