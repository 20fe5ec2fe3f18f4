package hyperdht_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/internal/noise"
	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// relaySteps are the events of connections to relays that are logged.
var relaySteps = []hyperdht.AttemptStep{hyperdht.AttemptPath, hyperdht.AttemptOpen, hyperdht.AttemptClosed}

// code is the code of an error, with the reason where that is more than what the code says, or its text.
func code(err error) string {
	parts := strings.SplitN(err.Error(), ": ", 3)
	switch {
	case parts[0] != strings.ToUpper(parts[0]):
		return err.Error()
	case len(parts) > 2:
		return parts[0] + ": " + parts[2]
	}
	return parts[0]
}

// event logs the events of attempts.
func (t *transcript) event(h *simnet.Host, e host.Event) {
	a, ok := e.(hyperdht.AttemptEvent)
	if !ok || !t.actors[h.Name()] || h.Name() == "relay" || h.Name() == "other" {
		return
	}
	if !t.on {
		t.attempts[h.Name()] = max(t.attempts[h.Name()], a.Attempt)
		return
	}
	who := h.Name()
	t.active[who] = true
	switch n := int(a.Attempt - t.attempts[who]); {
	case n < 1 && t.others:
		return
	case n < 1:
		who += "#old"
	case n > 1:
		who += fmt.Sprintf("#%d", n)
		if a.Key == keysOf(relayKey).Public && !slices.Contains(relaySteps, a.Step) {
			return
		}
	}
	var b strings.Builder
	b.WriteString(a.Step.String())
	for _, f := range []struct {
		name string
		addr netip.AddrPort
	}{{"node", a.Node}, {"addr", a.Addr}, {"seen", a.Seen}} {
		if f.addr.IsValid() {
			fmt.Fprintf(&b, " %s=%s", f.name, t.name(f.addr))
		}
	}
	switch a.Step {
	case hyperdht.AttemptProbed, hyperdht.AttemptPunching:
		fmt.Fprintf(&b, " ours=%v theirs=%v", a.Ours, a.Theirs)
	case hyperdht.AttemptAnswered, hyperdht.AttemptReceived:
		fmt.Fprintf(&b, " theirs=%v", a.Theirs)
	}
	if a.Path != hyperdht.PathNone {
		fmt.Fprintf(&b, " path=%v", a.Path)
	}
	if a.Step == hyperdht.AttemptWay {
		fmt.Fprintf(&b, " outcome=%v", a.Outcome)
	}
	if a.Err != nil {
		fmt.Fprintf(&b, " error=%q", code(a.Err))
	}
	t.line("%-10s * %s", who, b.String())
	if a.Step == hyperdht.AttemptPunching {
		t.luck, t.blur = t.luck || t.lucky, t.blur || t.lucky || t.guessed
	}
	if h.Name() == t.awaitedBy && a.Step == t.awaited && who == h.Name() {
		t.met = true
	}
}

// crossing logs what actors send to each other.
func (t *transcript) crossing(c simnet.Crossing) {
	from, to := t.names[c.From.Addr()], t.names[c.To.Addr()]
	b := c.Payload
	lan := c.Segment != t.l.net.Internet()
	main := t.isMain(from, c.From.Port())
	switch {
	case lan && !c.From.Addr().IsPrivate(), !lan && c.To.Addr().IsPrivate():
		return // seen on the other side of the router
	case lan && !c.To.Addr().IsPrivate():
		t.fromMain[string(b)] = main // on its way to the router
		return
	}
	if behind, known := t.fromMain[string(b)]; known {
		main = behind
		delete(t.fromMain, string(b))
	}
	if t.deaf && (from == "stranger" || to == "stranger") {
		return
	}
	if t.others && (from == "other" || to == "other") {
		return
	}
	if !t.actors[from] && !t.actors[to] && from != "stranger" && to != "stranger" {
		return
	}
	switch {
	case wire.IsRequest(b):
		if m, err := wire.ParseRequest(b); err == nil {
			t.request(c.From, c.To, m, main)
		}
	case wire.IsResponse(b):
		if m, err := wire.ParseResponse(b); err == nil {
			t.responses = append(t.responses, bytes.Clone(b))
			t.response(c.From, c.To, m)
		}
	case len(b) == 1 && t.others:
	case len(b) == 1:
		t.wire["probes"]++
		kind := "probe"
		if c.TTL < 32 {
			kind = "probe that dies on the way"
		}
		t.grouped(kind+t.fate(c.From, c.To), c.From, c.To, true, true)
	default:
		t.stream(c)
	}
}

func (t *transcript) stream(c simnet.Crossing) {
	p, err := udx.ParsePacket(c.Payload)
	if err != nil {
		return
	}
	way := [2]netip.AddrPort{c.From, c.To}
	if p.Flags&udx.FlagDestroy != 0 {
		t.message(c.From, c.To, "stream destroyed")
		return
	}
	if t.on && !t.streams[way] {
		t.streams[way] = true
		t.message(c.From, c.To, "stream, first packet")
	}
}

func (t *transcript) request(from, to netip.AddrPort, m wire.Request, main bool) {
	who := t.names[from.Addr()]
	announcer := t.announces && who == "answerer" && main
	if m.Internal {
		if m.Command == wire.CmdPing && (announcer || !main && t.actors[who] || to.Addr().IsPrivate()) {
			t.grouped("ping"+t.fate(from, to), from, to, to.Addr().IsPrivate(), announcer)
		}
		return
	}
	if m.Target != nil && *m.Target == keysOf(relayKey).Public.Target() {
		return // the connection to the relay is one as all others
	}
	t.calls[callKey{from, to, m.TID}] = m.Command
	switch m.Command {
	case wire.CmdFindPeer:
		if announcer || who == "dialler" {
			t.grouped("find-peer"+t.fate(from, to), from, to, false, false)
		}
	case wire.CmdAnnounce, wire.CmdUnannounce:
		if announcer {
			t.message(from, to, "%s", map[uint64]string{wire.CmdAnnounce: "announce", wire.CmdUnannounce: "unannounce"}[m.Command])
		}
	case wire.CmdPeerHandshake:
		if h, err := wire.ParseHandshake(m.Value); err == nil {
			t.handshake(from, to, h)
		}
	case wire.CmdPeerHolepunch:
		if h, err := wire.ParseHolepunch(m.Value); err == nil {
			t.holepunch(from, to, h)
		}
	}
}

func (t *transcript) response(from, to netip.AddrPort, m wire.Response) {
	command, known := t.calls[callKey{to, from, m.TID}]
	if !known {
		return
	}
	switch command {
	case wire.CmdAnnounce, wire.CmdUnannounce:
		if m.Error != 0 && t.announces {
			t.message(from, to, "refused, error %d", m.Error)
		}
	case wire.CmdPeerHandshake:
		if h, err := wire.ParseHandshake(m.Value); err == nil {
			t.handshake(from, to, h)
		} else {
			t.message(from, to, "handshake: unknown here")
		}
	case wire.CmdPeerHolepunch:
		if h, err := wire.ParseHolepunch(m.Value); err == nil {
			t.holepunch(from, to, h)
		} else {
			t.message(from, to, "holepunch: unknown here")
		}
	}
}

var modes = map[wire.Mode]string{
	wire.FromClient: "from-client", wire.FromServer: "from-server", wire.FromRelay: "from-relay",
	wire.FromSecondRelay: "from-second-relay", wire.Reply: "reply", 9: "of-no-mode",
}

func (t *transcript) handshake(from, to netip.AddrPort, h wire.Handshake) {
	t.wire["handshakes"]++
	text := "handshake " + modes[h.Mode]
	if h.PeerAddr.IsValid() {
		text += " peer=" + t.name(h.PeerAddr)
	}
	if h.RelayAddr.IsValid() {
		text += " relay=" + t.name(h.RelayAddr)
	}
	t.sealed(from, to, h.Noise, t.secretly(string(h.Noise), func() (string, bool) { return t.readNoise(h.Noise) }), text)
}

func (t *transcript) holepunch(from, to netip.AddrPort, h wire.Holepunch) {
	t.wire["rounds"]++
	text := "punch " + modes[h.Mode]
	if h.Mode != wire.FromServer && h.Mode != wire.Reply {
		text += fmt.Sprintf(" id=%d", h.ID)
	}
	if h.PeerAddr.IsValid() {
		text += " peer=" + t.name(h.PeerAddr)
	}
	t.sealed(from, to, h.Payload, t.secretly(string(h.Payload), func() (string, bool) { return t.readPunch(h.Payload) }), text)
}

// secretly returns the content of an encrypted part, the first time that it is seen.
func (t *transcript) secretly(sealed string, read func() (string, bool)) string {
	if t.told[sealed] {
		return ""
	}
	t.told[sealed] = true
	if text, ok := read(); ok {
		return " {" + text + "}"
	}
	return " {not to be read}"
}

// readNoise follows a handshake: message 1 with the answerer's static key, message 2 with the ephemeral key that the
// dialler has drawn.
func (t *transcript) readNoise(message []byte) (string, bool) {
	keys, remote := keysOf(diallerKey), keysOf(answererKey)
	responder := noise.NewResponder(remote, bytes.NewReader(make([]byte, 64)))
	if plain, err := responder.ReadMessage(message); err == nil {
		for i := len(t.draws) - 1; i > 0; i-- {
			initiator := noise.NewInitiator(keys, remote.Public, bytes.NewReader(t.draws[i][:]))
			if again, err := initiator.WriteMessage(plain); err == nil && bytes.Equal(again, message) {
				t.handshakes = append(t.handshakes, &tappedHandshake{noise: initiator})
				break
			}
		}
		return t.payload("dialler", plain)
	}
	for _, h := range t.handshakes {
		if plain, err := h.noise.ReadMessage(message); err == nil {
			result, _ := h.noise.Result()
			h.box = wire.NewPunchBox(result.HolepunchSecret, bytes.NewReader(make([]byte, 1<<16)))
			return t.payload("answerer", plain)
		}
	}
	return "", false
}

func (t *transcript) payload(who string, plain []byte) (string, bool) {
	p, err := wire.ParseNoisePayload(plain)
	if err != nil {
		return "", false
	}
	if p.UDX != nil {
		t.streamIDs[who] = p.UDX.ID
	}
	parts := []string{"firewall=" + p.Firewall.String()}
	if p.Error != wire.ErrorNone {
		parts = append(parts, "error="+p.Error.String())
	}
	if p.UDX == nil {
		parts = append(parts, "no udx")
	} else if p.UDX.ReusableSocket {
		parts = append(parts, "reusable")
	}
	if h := p.Holepunch; h != nil {
		var relays []netip.AddrPort
		for _, r := range h.Relays {
			relays = append(relays, r.RelayAddr)
		}
		parts = append(parts, fmt.Sprintf("punch-id=%d relays=%s", h.ID, t.list(relays)))
	}
	if p.Addrs4 != nil {
		parts = append(parts, "addrs="+t.list(p.Addrs4))
	}
	if p.RelayThrough != nil {
		parts = append(parts, "relay-through")
	}
	return strings.Join(parts, " "), true
}

func (t *transcript) readPunch(sealed []byte) (string, bool) {
	for _, h := range t.handshakes {
		if h.box == nil {
			continue
		}
		p, ok := h.box.Open(sealed)
		if !ok {
			continue
		}
		parts := []string{fmt.Sprintf("round=%d firewall=%v", p.Round, p.Firewall)}
		if p.Error != wire.ErrorNone {
			parts = append(parts, "error="+p.Error.String())
		}
		for _, f := range []struct {
			name string
			set  bool
		}{{"connected", p.Connected}, {"punching", p.Punching}, {"token", p.Token != nil}, {"echo", p.RemoteToken != nil}} {
			if f.set {
				parts = append(parts, f.name)
			}
		}
		if p.Addrs != nil {
			parts = append(parts, "addrs="+t.list(p.Addrs))
		}
		if p.RetryAfter > 0 {
			parts = append(parts, fmt.Sprintf("retry-after=%dms", p.RetryAfter))
		}
		if p.RemoteAddr.IsValid() {
			parts = append(parts, "remote="+t.name(p.RemoteAddr))
		}
		return strings.Join(parts, " "), true
	}
	return "", false
}
