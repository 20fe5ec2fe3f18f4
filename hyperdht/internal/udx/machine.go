package udx

import (
	"errors"
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/internal/states"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Errors of a Machine.
var (
	// ErrReset: the peer destroyed the stream.
	ErrReset = errors.New("udx: stream destroyed by the peer")
	// ErrTimeout: the peer has not acknowledged anything through maxExpiries timeouts.
	ErrTimeout = errors.New("udx: no answer from the peer")
	// ErrClosed: the stream has ended.
	ErrClosed = errors.New("udx: stream is closed")
	// ErrConnected: a stream connects once.
	ErrConnected = errors.New("udx: stream is already connected")
	// ErrNotConnected: there is no remote to change yet.
	ErrNotConnected = errors.New("udx: stream is not connected")
	// ErrChanging: the previous change of remote has not completed.
	ErrChanging = errors.New("udx: remote is already changing")
	// ErrBadRemote: the remote has no usable address or port.
	ErrBadRemote = errors.New("udx: remote address is not usable")
)

// Owner handles the events of a Machine, which calls Data and Message from Receive and Deliver, Transmit from
// anything that sends, the rest from Receive, Advance, Flush and Deliver: never from what a user calls.
// An owner may call back into the machine, Destroy included.
type Owner interface {
	// Transmit sends a datagram. It is the machine's again on return.
	Transmit(to netip.AddrPort, datagram []byte)
	// Data hands over the next bytes of the stream, borrowed for the call.
	Data(b []byte)
	// Ended reports that the peer has ended its direction and that everything of it was handed over.
	Ended()
	// Message hands over one unordered message, borrowed for the call.
	Message(b []byte)
	// Drain reports that a writer that met back-pressure may go on.
	Drain()
	// RemoteChanged reports that nothing travels the old way any more.
	RemoteChanged()
	// Closed reports that the stream is over: nil after both directions ended, or the reason. It is the
	// last call, and does not follow Destroy.
	Closed(err error)
}

// Config tunes a Machine; zero fields take the default.
type Config struct {
	// Pool provides buffers; machines of one loop share it.
	Pool *Pool
	// ReceiveBuffer is the most that is held for a reader that does not read, in bytes.
	ReceiveBuffer int
	// MaxMTU is the largest packet probed for, headers of IP, UDP and UDX included.
	MaxMTU int
	// FirstSeq and FirstAck are the numbers agreed for the first packet of each direction; 0 in HyperDHT.
	FirstSeq, FirstAck Seq
	// Narrow reports whether the path to a host is known to swallow packets of the size that streams begin with; nil knows none.
	Narrow func(netip.Addr) bool
	// Faults counts transitions that no table of states lists; machines of one loop share it.
	Faults *states.Faults
}

// Machine is one end of a stream. The zero value is not usable; see Init.
type Machine struct {
	owner  Owner
	pool   *Pool
	path   path
	closed bool

	out    sendQueue
	writer writer
	window peerWindow
	in     reassembly
	ack    ackSchedule

	rtt    rttEstimator
	loss   lossDetection
	rate   deliveryRate
	bbr    bbr
	pacer  pacer
	mtu    mtuSearch
	hole   blackHole
	timers timers

	keepalive time.Duration
	stats     Counters
	faults    *states.Faults
}

// Init readies a machine. It does not connect it.
func (m *Machine) Init(owner Owner, cfg Config) {
	if cfg.Pool == nil {
		cfg.Pool = NewPool()
	}
	if cfg.Faults == nil {
		cfg.Faults = new(states.Faults)
	}
	if cfg.ReceiveBuffer == 0 {
		cfg.ReceiveBuffer = DefaultReceiveBuffer
	}
	if cfg.MaxMTU == 0 || cfg.MaxMTU > maxMTU {
		cfg.MaxMTU = maxMTU
	}
	*m = Machine{
		owner: owner, pool: cfg.Pool, faults: cfg.Faults,
		window: peerWindow{size: DefaultWindow, seq: cfg.FirstAck, ack: cfg.FirstSeq},
		mtu:    mtuSearch{limit: cfg.MaxMTU, narrow: cfg.Narrow},
		pacer:  pacer{next: longAgo},
		timers: stoppedTimers(),
	}
	m.out.begin(cfg.FirstSeq)
	m.loss.rack.fack = cfg.FirstSeq
	m.in.init(cfg.FirstAck, cfg.ReceiveBuffer)
	m.rtt.init()
	m.searchMTU()
	m.bbr.faults = cfg.Faults
	m.bbr.init(m.mss())
}

// mss is the cost of a full packet.
func (m *Machine) mss() int { return m.mtu.size }

// maxPayload is the most bytes of the stream in a packet to the current remote.
func (m *Machine) maxPayload() int { return m.mtu.size - HeaderSize - m.path.remote.overhead() }

// searchMTU begins to look for the size that the path to the remote carries.
func (m *Machine) searchMTU() {
	m.hole.end(m.faults)
	m.mtu.start(m.path.remote)
}

// Connected reports whether the machine has a remote.
func (m *Machine) Connected() bool { return m.path.remote != nil }

// IsClosed reports whether the stream is over.
func (m *Machine) IsClosed() bool { return m.closed }

// Remote returns the destination of packets, or the zero Remote.
func (m *Machine) Remote() Remote {
	if m.path.remote == nil {
		return Remote{}
	}
	return *m.path.remote
}

// Connect sets the remote. Nothing is sent but what was waiting for it.
func (m *Machine) Connect(now host.Instant, r Remote) error {
	switch {
	case m.closed:
		return ErrClosed
	case m.path.remote != nil:
		return ErrConnected
	case !r.isValid():
		return ErrBadRemote
	}
	m.path.remote = &r
	m.searchMTU()
	m.out.redirect(m.path.remote)
	m.armKeepalive(now)
	return nil
}

// Limit has packets to the remote keep to an allowance, until the remote acknowledges from its own address something that was
// sent there. Packets that ReceiveFrom takes from there count for it. ChangeRemote ends it.
func (m *Machine) Limit(a *Allowance) { m.path.allowance = a }

// Limited reports whether an allowance limits what is sent to the remote.
func (m *Machine) Limited() bool { return m.path.allowance.Limited() }

// GuessRTT sets the expected round trip before the first sample, so that a first packet that is lost is repeated
// soon rather than after the initial second.
func (m *Machine) GuessRTT(d time.Duration) { m.rtt.guess = max(d, 0) }

// ChangeRemote sends everything begun from now on to another remote; what was begun before keeps the
// old one, and its retransmissions go both ways. Once nothing of that is left, RemoteChanged is called; complete
// tells that this is so already, and then it is not called (§14).
func (m *Machine) ChangeRemote(now host.Instant, r Remote) (complete bool, err error) {
	if err := m.checkChange(r); err != nil {
		return false, err
	}
	m.path.set(r)
	m.out.forgetProbes()
	m.pathChanged(now)
	if m.out.empty() {
		return true, nil
	}
	m.path.beginChange(m.out.next)
	return false, nil
}

func (m *Machine) checkChange(r Remote) error {
	if m.closed {
		return ErrClosed
	}
	return m.path.check(r)
}

// pathChanged begins to measure another path.
func (m *Machine) pathChanged(now host.Instant) {
	m.searchMTU()
	m.rtt.pathChanged(now)
	m.loss.share = lossShare{second: m.loss.share.second}
	m.bbr.pathChanged(m.mss())
	m.timers.pace = never
	m.pacer.restart(now)
}

// Redirect changes the remote, also of packets that were begun before, for a machine whose first remote was a guess. It
// resets the state of the path: MTU, bandwidth, limits. It does nothing if r is the present remote. Errors are those of
// ChangeRemote.
func (m *Machine) Redirect(now host.Instant, r Remote) error {
	if err := m.checkChange(r); err != nil {
		return err
	}
	if r == *m.path.remote {
		return nil
	}
	m.path.set(r)
	m.out.redirect(m.path.remote)
	m.pathChanged(now)
	m.loss.progress()
	if !m.out.idle() {
		m.timers.rto = now.Add(m.rtt.rto)
	}
	return nil
}

// Resend has everything in flight leave again, for a machine whose remote has changed because the old way lost it.
func (m *Machine) Resend() {
	var s ackSample
	for p := m.out.flight.head; p != nil; p = m.out.flight.head {
		m.markLost(p, &s)
	}
	if !m.out.idle() {
		m.loss.beginRecovery(timedOut, m.out.sent, m.faults)
	}
}

// Suspect is the size of the oldest packet that is not acknowledged, headers included, if it may be lost for its size; or 0.
func (m *Machine) Suspect() int {
	if m.out.idle() {
		return 0
	}
	if n := m.out.oldest().size(); n > narrowMTU {
		return n
	}
	return 0
}

// Stalls counts signs of a dead or bad path: expiries of the retransmission timer; tail-loss probes that were not answered, the first on a
// short path, the second elsewhere; and seconds in which a third of all packets were lost.
func (m *Machine) Stalls() uint32 { return m.loss.stalls }

// SetPersistent disables the limit on retransmissions. The caller bounds the life of the machine then. After SetPersistent(false), at
// least three retransmissions remain.
func (m *Machine) SetPersistent(on bool) { m.loss.persist(on) }

// Spend counts n bytes that leave beside the machine against its allowance, and reports whether they may.
func (m *Machine) Spend(n int) bool {
	if !m.path.allowance.Allows(n) {
		return false
	}
	m.path.allowance.Send(n)
	return true
}

// Repeat hands copies of the oldest packets in flight, most at most, to send, addressed to another stream id than the
// remote's. A copy is valid until the next.
func (m *Machine) Repeat(remoteID uint32, most int, send func(b []byte)) {
	for p := m.out.flight.head; p != nil && most > 0; p = p.next {
		h := m.header(remoteID, p.flags)
		h.Seq = p.seq
		send(append(h.Append(m.pool.build()), p.buf[HeaderSize:]...))
		most--
	}
}

// Write queues a copy of b. It reports false when the writer should wait for Drain; b is queued all
// the same. After End or on a closed stream it does nothing.
func (m *Machine) Write(b []byte) bool {
	if m.closed || m.writer.ended {
		return false
	}
	for len(b) > 0 {
		p := m.openPacket()
		n := min(len(b), m.maxPayload()-p.payload())
		p.buf = append(p.buf, b[:n]...)
		m.out.queued += n
		b = b[n:]
	}
	return m.writer.write(m.out.queued, m.highWater())
}

// openPacket returns the last packet if it has not left yet and has room and goes to the current
// remote, or else a new one.
func (m *Machine) openPacket() *packet {
	if p := m.out.last(); p != nil && p.remote == m.path.remote && p.payload() < m.maxPayload() {
		return p
	}
	return m.newPacket(FlagData)
}

func (m *Machine) newPacket(flags Flags) *packet {
	p := m.pool.packet()
	p.flags, p.remote = flags, m.path.remote
	m.out.push(p)
	return p
}

func (m *Machine) highWater() int {
	return highWater + min(m.bbr.cwnd, int(m.window.size))
}

// End ends our direction once everything queued has left. END rides on the last packet, unless the
// peer has ended already: then it may close with its last ack, and a bare END that stays unanswered
// differs from lost data (onlyEndMissing).
func (m *Machine) End() {
	if m.closed || !m.writer.end() {
		return
	}
	if p := m.out.last(); p != nil && p.remote == m.path.remote && !m.in.endSeen {
		p.flags |= FlagEnd
		return
	}
	m.newPacket(FlagEnd)
	m.writer.bareEnd = true
}

// SendMessage sends one unordered message at once. It reports whether it left: not without a remote,
// not above MaxMessage, and not beyond an allowance.
func (m *Machine) SendMessage(b []byte) bool {
	if m.closed || m.path.remote == nil || len(b) > MaxMessage {
		return false
	}
	if !m.path.allowance.Allows(HeaderSize + len(b)) {
		return false
	}
	buf := append(m.control(FlagMessage), b...)
	m.transmitControl(buf)
	return true
}

// SetKeepalive sends a heartbeat whenever nothing was in flight for d; 0 stops that. It keeps NAT
// mappings, and does not notice a dead peer (§8).
func (m *Machine) SetKeepalive(now host.Instant, d time.Duration) {
	m.keepalive = d
	m.armKeepalive(now)
}

// Ask sends a heartbeat with a question, which the peer answers at once.
func (m *Machine) Ask(question uint32) {
	if !m.closed && m.path.remote != nil && m.path.allowance.Allows(HeaderSize+questionSize) {
		m.transmitControl(m.Heartbeat(m.path.remote.ID, question))
	}
}

// Destroy aborts the stream: the peer is notified once, everything queued is dropped, and no callback
// follows.
func (m *Machine) Destroy() {
	if m.closed {
		return
	}
	m.sendDestroy()
	m.Abandon()
}

func (m *Machine) sendDestroy() {
	if m.path.remote != nil && m.path.allowance.Allows(HeaderSize) {
		h := m.header(m.path.remote.ID, FlagDestroy)
		h.Seq = m.out.next // beyond everything ever sent, or it would be stale (§4.6)
		m.transmitControl(h.Append(m.pool.build()))
	}
}

// Abandon closes the stream without a word to the peer.
func (m *Machine) Abandon() {
	if m.closed {
		return
	}
	m.closed = true
	m.out.clear(m.pool)
	m.in.queue.clear(m.pool)
	m.timers = stoppedTimers()
	m.pacer.next = longAgo
}

// close ends the stream from within.
func (m *Machine) close(err error) {
	if m.closed {
		return
	}
	m.Abandon()
	if err == nil {
		m.out.final = m.out.next
	}
	m.owner.Closed(err)
}

// localDone reports whether our direction is finished.
func (m *Machine) localDone() bool { return m.writer.ended && m.out.empty() }

// Pause holds received data back; the advertised window shrinks by it.
func (m *Machine) Pause() { m.in.paused = true }

// Resume ends a pause. What was held is handed over by Deliver.
func (m *Machine) Resume() { m.in.paused = false }

// Confine bounds the memory that received packets take while they wait, in bytes, and the advertised window with it. 0
// ends that: the window opens again with the next Flush. What is held already stays.
func (m *Machine) Confine(memory int) { m.in.confine(memory) }

// Written is the number of the next packet: everything written so far is in packets before it.
func (m *Machine) Written() Seq { return m.out.next }

// Acknowledged is the number of the first packet that the peer has not acknowledged. It stays after the end; where both directions
// have ended, it is that of Written.
func (m *Machine) Acknowledged() Seq {
	if m.closed {
		return m.out.final
	}
	return m.out.acked
}

// SendMemory is the memory of unacknowledged and unsent packets, in bytes.
func (m *Machine) SendMemory() int { return m.out.memory() }

// ReceiveMemory is the memory of packets that wait for the reader or for other packets, in bytes.
func (m *Machine) ReceiveMemory() int { return m.in.queue.memory }

// Holding reports whether Deliver has something to do.
func (m *Machine) Holding() bool { return m.in.queue.unread > 0 }

// Stats describes the stream.
func (m *Machine) Stats() Stats {
	s := Stats{Counters: m.stats}
	s.RTT, s.MinRTT, s.RTO = m.rtt.smoothed, m.rtt.smallest, m.rtt.rto
	s.Cwnd, s.InFlight, s.Queued, s.MTU = m.bbr.cwnd, m.out.flight.bytes, m.out.queued, m.mtu.size
	s.Bandwidth = m.bbr.bandwidth.max()
	s.Held = m.in.queue.unread + m.in.queue.gapped
	return s
}

// Retransmits returns the count of Stats alone.
func (m *Machine) Retransmits() uint64 { return m.stats.Retransmits }

// Stats describes one stream.
type Stats struct {
	Gauges
	Counters
}

// Gauges are the present values of a stream.
type Gauges struct {
	RTT, MinRTT, RTO time.Duration // 0 before the first sample, but RTO
	Bandwidth        int64         // delivery rate, bytes per second
	Cwnd             int           // bytes that may be in flight, headers included
	InFlight         int           // bytes in flight, headers included
	Queued           int           // payload bytes written and not acked
	Held             int           // payload bytes received and not handed over
	MTU              int           // size packets are cut to, all headers included
}

// Counters count events since the stream began.
type Counters struct {
	PacketsSent, BytesSent         uint64 // datagrams, acks included; UDP payload
	PacketsReceived, BytesReceived uint64
	DataSent                       uint64 // packets with a number, retransmissions included
	Retransmits                    uint64
	Timeouts                       uint64
	TailProbes                     uint64
	Recoveries                     uint64
	BlackHoles                     uint64 // found: the stream ended for it
	BadAcks                        uint64 // acks of packets that were never sent
	BadBlocks                      uint64 // SACK blocks out of range
	BadPadding                     uint64
	BeyondWindow                   uint64 // packets ignored for want of room, or too far ahead
	Duplicates                     uint64
}

// LastAck returns the numbers that a final acknowledgement carries: what a closed stream must be able to
// repeat (§18.1).
func (m *Machine) LastAck() (seq, ack Seq) { return m.out.next, m.in.expected }
