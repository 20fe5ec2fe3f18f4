package hyperdht_test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/internal/noise"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/internal/golden"
	"github.com/dhtprom/dhtprom/ports/host"
)

// mainPort is the port of every node's main socket. Other sockets are numbered in the order in which they appear.
const mainPort = 49737

// transcript logs what the actors of a lab send to each other, and their events: one line for each message of a
// handshake or punch, for the first stream packet of each direction, for each group of probes, and for each event of an
// attempt.
//
//	0.04  dialler   > n3         handshake from-client {firewall=unknown}
//	│     │           │          the message, as the receiver reads it; in braces what is encrypted
//	│     from        to, with the number of the socket where it is not the main one
//	seconds since the transcript began
//
// A line with * is an event of an attempt, or of an application ("app:"); dialler#2 is the dialler's second attempt. A
// line with -- is a step of the scenario, and one with = is the state of an actor at the end.
type transcript struct {
	l     *lab
	text  strings.Builder
	since host.Instant

	// What it knows.
	names     map[netip.Addr]string      // of hosts and routers
	actors    map[string]bool            // hosts whose messages are logged
	lost      map[[2]string]bool         // no message arrives from the first at the second
	ports     map[string][]uint16        // other than mainPort, by host, in the order in which they appeared
	main      map[string][]uint16        // of sockets that were open before the transcript, by host
	sockets   map[string][]uint16        // of all sockets that were ever open, by host
	fromMain  map[string]bool            // datagrams that left from a main socket towards a router
	calls     map[callKey]uint64         // commands of requests
	streams   map[[2]netip.AddrPort]bool // directions with a stream
	streamIDs map[string]uint32          // of the last handshake, by the side that receives on them
	responses [][]byte                   // all that were seen
	attempts  map[string]uint64          // of each actor before the transcript
	active    map[string]bool            // actors with an event
	stats     map[string]reflect.Value   // of each actor before the transcript
	wire      map[string]int             // numbers of messages of handshakes and rounds, and of probes
	groups    []*group                   // since the last line
	seen      map[string]bool            // messages that are logged already
	told      map[string]bool            // encrypted parts that are

	// How it decrypts.
	draws      [][32]byte // of randomness, by all actors; the first is none
	lastID     uint32     // the last draw of 4 bytes, as those of streams' ids
	handshakes []*tappedHandshake

	// What it leaves out.
	on        bool // begun
	muted     bool // logs nothing, but keeps count
	lucky     bool // from the first probe on, times and numbers depend on chance
	luck      bool // that has begun
	guessed   bool // ports depend on chance from the first probe on
	blur      bool // that has begun
	announces bool // messages of the answerer's announcer are logged
	deaf      bool // those of strangers are not
	others    bool // probes are not, nor what belongs to dials before

	// What the lab waits for.
	awaited   hyperdht.AttemptStep
	awaitedBy string
	met       bool
}

type callKey struct {
	from, to netip.AddrPort
	tid      uint16
}

// group is several messages of one kind in a row.
type group struct {
	kind, key    string
	froms, tos   []string
	many         [2]string // hosts, for groups of many sockets
	first, last  time.Duration
	count        int
	countMatters bool
}

// tappedHandshake is a handshake that the transcript follows from outside.
type tappedHandshake struct {
	noise *noise.Handshake
	box   *wire.PunchBox
}

func newTranscript(l *lab) *transcript {
	return &transcript{
		l: l, names: map[netip.Addr]string{}, actors: map[string]bool{}, lost: map[[2]string]bool{}, active: map[string]bool{}, ports: map[string][]uint16{},
		calls: map[callKey]uint64{}, streams: map[[2]netip.AddrPort]bool{}, attempts: map[string]uint64{},
		stats: map[string]reflect.Value{}, draws: make([][32]byte, 1), told: map[string]bool{}, seen: map[string]bool{},
		main: map[string][]uint16{}, sockets: map[string][]uint16{}, streamIDs: map[string]uint32{}, wire: map[string]int{}, fromMain: map[string]bool{},
	}
}

// isMain reports whether a host's socket was open before the transcript began.
func (t *transcript) isMain(host string, port uint16) bool {
	return slices.Contains(t.main[host], port)
}

// begin starts the transcript.
func (l *lab) begin() {
	l.log.on, l.log.since = true, host.Instant(l.net.Now())
	for _, a := range []*actor{l.dialler, l.answerer} {
		l.log.stats[a.name] = reflect.ValueOf(a.node.Status().Peering)
	}
}

// show forgets what was muted and goes on with the transcript.
func (l *lab) show() {
	l.log.flush()
	l.log.text.Reset()
	l.log.muted = false
}

func (t *transcript) now() time.Duration { return t.l.net.Now() - time.Duration(t.since) }

func (t *transcript) stamp(from, to time.Duration) string {
	if t.luck {
		return "     ~"
	}
	s := fmt.Sprintf("%6.2f", from.Seconds())
	if to-from >= 10*time.Millisecond {
		s += fmt.Sprintf("-%.2f", to.Seconds())
	}
	return s
}

// line adds a line, after the groups before it.
func (t *transcript) line(format string, args ...any) {
	if !t.on || t.muted {
		return
	}
	t.flush()
	text := t.stamp(t.now(), t.now()) + "  " + fmt.Sprintf(format, args...)
	t.text.WriteString(strings.TrimRight(text, " ") + "\n")
}

// note adds a step of the scenario.
func (t *transcript) note(format string, args ...any) { t.line("-- "+format, args...) }

// say adds an event of an application.
func (t *transcript) say(who, format string, args ...any) {
	t.line("%-10s * %s", who, fmt.Sprintf(format, args...))
}

// message adds a message.
func (t *transcript) message(from, to netip.AddrPort, format string, args ...any) {
	t.sealed(from, to, nil, "", fmt.Sprintf(format, args...))
}

// sealed adds a message with a part that is encrypted, and what that says.
func (t *transcript) sealed(from, to netip.AddrPort, part []byte, says, text string) {
	text += t.fate(from, to)
	line := fmt.Sprintf("%-10s > %-10s   %s", t.name(from), t.name(to), text)
	key := line + string(part)
	if part != nil && t.seen[key] {
		t.grouped(text+", again", from, to, true, true)
		return
	}
	t.seen[key] = true
	t.line("%s%s", line, says)
}

// fate marks messages that do not arrive.
func (t *transcript) fate(from, to netip.AddrPort) string {
	if t.lost[[2]string{t.names[from.Addr()], t.names[to.Addr()]}] {
		return " (lost)"
	}
	return ""
}

// grouped adds a message to the group of its kind.
func (t *transcript) grouped(kind string, from, to netip.AddrPort, byHost, countMatters bool) {
	if !t.on || t.muted {
		return
	}
	f, d := t.names[from.Addr()], t.names[to.Addr()]
	key := kind + f
	if byHost {
		key += ">" + d
	}
	i := slices.IndexFunc(t.groups, func(g *group) bool { return g.key == key })
	if i < 0 {
		i = len(t.groups)
		t.groups = append(t.groups, &group{kind: kind, key: key, many: [2]string{f, d}, first: t.now(), countMatters: countMatters})
	}
	g := t.groups[i]
	if n := t.short(from, g.froms); !slices.Contains(g.froms, n) {
		g.froms = append(g.froms, n)
	}
	if n := t.short(to, g.tos); !slices.Contains(g.tos, n) {
		g.tos = append(g.tos, n)
	}
	g.last = t.now()
	g.count++
}

const manyPorts = 6

// short is the name of an address for a group with these others, or that of its host where there are many.
func (t *transcript) short(a netip.AddrPort, others []string) string {
	if host := t.names[a.Addr()]; len(others) >= manyPorts && strings.HasPrefix(others[0], host) {
		return host + "/*"
	}
	return t.name(a)
}

func (t *transcript) flush() {
	groups := t.groups
	t.groups = nil
	for _, g := range groups {
		slices.Sort(g.tos)
		from, to := strings.Join(g.froms, ","), strings.Join(g.tos, ",")
		if len(g.froms) > 2 {
			from = g.many[0] + "/*"
		}
		if len(g.tos) > manyPorts && g.tos[0][0] != 'n' {
			to = g.many[1] + "/*"
		}
		text := fmt.Sprintf("%s  %-10s > %-10s   %s", t.stamp(g.first, g.last), from, to, g.kind)
		if g.countMatters && g.count > 1 && !t.luck {
			text += fmt.Sprintf(" x%d", g.count)
		}
		t.text.WriteString(text + "\n")
	}
}

// name is the host of an address, with the number of its socket.
func (t *transcript) name(a netip.AddrPort) string {
	host, ok := t.names[a.Addr()]
	switch {
	case !a.IsValid():
		return "none"
	case !ok:
		return a.String()
	case a.Addr().IsPrivate():
		host += "'s-lan"
	}
	switch a.Port() {
	case mainPort:
		return host
	case 0:
		return host + "/?"
	}
	if t.blur {
		return host + "/*"
	}
	i := slices.Index(t.ports[host], a.Port())
	if i < 0 {
		i = len(t.ports[host])
		t.ports[host] = append(t.ports[host], a.Port())
	}
	return fmt.Sprintf("%s/%d", host, i+1)
}

func (t *transcript) list(addrs []netip.AddrPort) string {
	var names []string
	for _, a := range addrs {
		names = append(names, t.name(a))
	}
	return strings.Join(names, ",")
}

// finish adds what both sides hold now and have counted, and returns the whole.
func (l *lab) finish() string {
	t := l.log
	t.muted = false
	for _, a := range []*actor{l.dialler, l.answerer} {
		holds, counts := l.holds(a), t.counts(a)
		if !t.active[a.name] && holds == nothing && counts == nothing {
			continue
		}
		t.line("%-10s = holds%s", a.name, holds)
		t.line("%-10s = counts%s", a.name, counts)
	}
	return t.text.String()
}

// end compares the finished transcript with the file of that name.
func (l *lab) end(name string) {
	l.t.Helper()
	keep(l.t, name, l.finish())
}

// keep compares a text with a file in testdata.
func keep(t *testing.T, name, got string) {
	t.Helper()
	golden.File(t, filepath.Join("testdata", "paths", name+".txt"), got)
}

// held are the sizes of a node that peers can make grow.
var held = []string{
	"connections", "callers", "callers that wait", "callers that are remembered", "sessions of callers", "random punches",
	"sockets for punching", "routes",
}

func (l *lab) holds(a *actor) string {
	var b strings.Builder
	a.node.Sizes(func(what string, n, _ int) {
		if n != 0 && slices.Contains(held, what) {
			fmt.Fprintf(&b, ", %s: %d", what, n)
		}
	})
	return cmpOr(strings.TrimPrefix(b.String(), ","), nothing)
}

// counts are the counters that have moved since the transcript began.
func (t *transcript) counts(a *actor) string {
	before, after := t.stats[a.name], reflect.ValueOf(a.node.Status().Peering)
	var b strings.Builder
	for i := range after.NumField() {
		f := after.Field(i)
		if f.Kind() != reflect.Uint64 || !before.IsValid() {
			continue
		}
		if n := f.Uint() - before.Field(i).Uint(); n > 0 {
			fmt.Fprintf(&b, ", %s: %d", after.Type().Field(i).Name, n)
		}
	}
	return cmpOr(strings.TrimPrefix(b.String(), ","), nothing)
}

const nothing = " nothing"

func cmpOr(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
