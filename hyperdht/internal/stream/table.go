package stream

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
	"github.com/dhtprom/dhtprom/internal/states"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Errors that end or refuse a stream; see package udx.
var (
	ErrReset        = udx.ErrReset
	ErrTimeout      = udx.ErrTimeout
	ErrClosed       = udx.ErrClosed
	ErrConnected    = udx.ErrConnected
	ErrNotConnected = udx.ErrNotConnected
	ErrChanging     = udx.ErrChanging
	ErrBadRemote    = udx.ErrBadRemote
)

// Firewall decides on a packet that came to a stream without a remote, or through another socket than
// the stream's. It is asked for every such packet, of any kind, and may connect, change the remote of or
// destroy the stream. A refused packet is swallowed. On the stream's own socket it is only asked
// after WatchRemote, and then about other sources than the remote: authenticity is the business of the layer above
// (spec/udx.md §2.1).
type Firewall = func(s host.Socket, from netip.AddrPort) (accept bool)

// Config tunes a Table; the zero value is right for a node.
type Config struct {
	// ReceiveBuffer is the most bytes that a stream holds for a reader that does not read; 4 MiB by default.
	ReceiveBuffer int
	// MaxMTU is the largest packet that is probed for, all headers included; 1500 by default, and 1200
	// turns probing off.
	MaxMTU int
	// Pool provides buffers; the table's own by default. Tables of one goroutine may share
	// one.
	Pool *udx.Pool
	// OnStall is called at signs that the way in use by a stream is dead or bad; see udx.Machine.Stalls. It may be nil.
	OnStall func()
}

// TableStats counts what a Table saw.
type TableStats struct {
	Opened, Closed uint64 // streams
	Packets        uint64 // packets of streams
	Refused        uint64 // packets that a firewall refused
	Relayed        uint64 // packets passed on
	RelayDropped   uint64 // packets for a leg that is not connected yet
	Lingered       uint64 // last acknowledgements repeated for closed streams
	OverLimit      uint64 // streams of unproven peers that held too much
	Shed           uint64 // streams that ended because all unproven peers together held too much
	Retransmits    uint64 // packets sent again, by closed streams too
	BlackHoles     uint64 // streams that ended because their path swallows large packets
}

// Table holds all streams of a node.
type Table struct {
	host    host.Host
	config  udx.Config
	streams map[uint32]*Stream
	flushes flushes
	linger  lingering
	narrow  narrowPaths
	account account
	created uint64
	closed  bool
	relay   []byte // where relayed packets get their new id
	stats   TableStats
	faults  states.Faults
	stalled func() // see Config.OnStall
}

// NewTable returns an empty table.
func NewTable(h host.Host, cfg Config) *Table {
	if cfg.Pool == nil {
		cfg.Pool = udx.NewPool()
	}
	t := &Table{host: h, streams: make(map[uint32]*Stream), flushes: make(flushes), stalled: cfg.OnStall}
	t.config = udx.Config{
		Pool: cfg.Pool, ReceiveBuffer: cfg.ReceiveBuffer, MaxMTU: cfg.MaxMTU, Faults: &t.faults,
		Narrow: func(a netip.Addr) bool { return t.narrow.has(a, h.Now()) },
	}
	return t
}

// New returns a stream with a random id that is unique in the table. A nil firewall refuses everything
// that it would be asked about. On a closed table the stream is closed already.
func (t *Table) New(fw Firewall) *Stream {
	s := &Stream{table: t, id: t.freeID(), admission: admission{firewall: fw}, order: t.created}
	s.timer.stream = s
	t.created++
	s.machine.Init((*owner)(s), t.config)
	s.machine.Pause() // until there is a handler for data
	s.turn.run = s.endTurn
	if t.closed {
		s.Destroy(ErrClosed)
		return s
	}
	t.stats.Opened++
	t.streams[s.id] = s
	return s
}

// freeID draws an id. Random ones are all that stops blind injection (spec/udx.md §18.7).
func (t *Table) freeID() uint32 {
	for {
		id := host.DrawUint32(t.host.Rand())
		if _, taken := t.streams[id]; !taken && t.linger.find(id, t.host.Now()) == nil {
			return id
		}
	}
}

// Receive takes a datagram that came through a socket of the node. It reports whether the datagram
// belonged to a stream; all others are the caller's, well-formed packets of unknown streams included.
func (t *Table) Receive(s host.Socket, from netip.AddrPort, b []byte) bool {
	id, ok := udx.PeekStreamID(b)
	if !ok {
		return false
	}
	if st := t.streams[id]; st != nil {
		t.stats.Packets++
		st.receive(s, from, b)
		return true
	}
	if l := t.linger.find(id, t.host.Now()); l != nil {
		if udx.PeekFlags(b)&(udx.FlagData|udx.FlagEnd|udx.FlagHeartbeat) != 0 {
			t.stats.Lingered++
			l.socket.Send(l.addr, 0, l.ack[:])
		}
		return true
	}
	return false
}

// Stats counts since the table was made.
func (t *Table) Stats() TableStats {
	s := t.stats
	for _, st := range t.streams {
		s.Retransmits += st.machine.Retransmits()
	}
	return s
}

// Len is the number of streams that are not closed.
func (t *Table) Len() int { return len(t.streams) }

// Close destroys all streams, oldest first, and refuses new ones.
func (t *Table) Close() {
	t.closed = true
	t.narrow = nil
	all := make([]*Stream, 0, len(t.streams))
	for _, s := range t.streams {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *Stream) int { return cmp.Compare(a.order, b.order) })
	for _, s := range all {
		s.Destroy(ErrClosed)
	}
	t.linger = lingering{}
}

// forget takes a closed stream out of the table.
func (t *Table) forget(s *Stream) {
	if t.streams[s.id] == s {
		delete(t.streams, s.id)
		t.stats.Closed++
		t.stats.Retransmits += s.machine.Stats().Retransmits
	}
}
