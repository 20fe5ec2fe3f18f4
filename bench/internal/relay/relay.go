// Package relay delays, drops and reorders the datagrams between programs of this machine.
//
// Each program has a second address at the relay. A datagram to it arrives at the program from the second address of its sender. So
// programs that enter a network by the second address of one of its nodes know each other by these addresses alone.
package relay

import (
	"container/heap"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
)

const (
	maxDatagram  = 2048    // bytes
	maxBatch     = 64      // datagrams of a system call
	maxQueue     = 1 << 16 // datagrams on their way; more are dropped
	socketBuffer = 4 << 20 // bytes
)

// Path is the condition of all paths.
type Path struct {
	RTT    time.Duration
	Jitter time.Duration // up to which each datagram is delayed more, so that they overtake each other
	Loss   float64       // of each datagram, from 0 to 1
}

// Relay is a running relay.
type Relay struct {
	path  Path
	alarm chan struct{} // the queue has a datagram that is due earlier
	done  chan struct{}

	mu      sync.Mutex
	second  map[netip.AddrPort]*port
	queue   queue
	sent    uint64 // datagrams so far
	closed  bool
	running sync.WaitGroup
}

// port is the second address of a program.
type port struct {
	conn  *net.UDPConn
	batch *ipv4.PacketConn
	real  *net.UDPAddr
}

// packet is a datagram on its way.
type packet struct {
	due      time.Time
	number   uint64
	from, to *port
	buffer   *[maxDatagram]byte
	size     int
}

var buffers = sync.Pool{New: func() any { return new([maxDatagram]byte) }}

// New starts a relay until Close.
func New(path Path) *Relay {
	r := &Relay{path: path, alarm: make(chan struct{}, 1), done: make(chan struct{}), second: map[netip.AddrPort]*port{}}
	r.running.Go(r.deliver)
	return r
}

// Close ends the relay.
func (r *Relay) Close() {
	r.mu.Lock()
	r.closed = true
	for _, p := range r.second {
		p.conn.Close()
	}
	r.mu.Unlock()
	close(r.done)
	r.running.Wait()
}

// Of returns the second address of a program at an address of its own.
func (r *Relay) Of(real netip.AddrPort) (netip.AddrPort, error) {
	p, err := r.port(real)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return p.conn.LocalAddr().(*net.UDPAddr).AddrPort(), nil
}

func (r *Relay) port(real netip.AddrPort) (*port, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, net.ErrClosed
	}
	if p := r.second[real]; p != nil {
		return p, nil
	}
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(conn.SetReadBuffer(socketBuffer), conn.SetWriteBuffer(socketBuffer)); err != nil {
		conn.Close()
		return nil, err
	}
	p := &port{conn: conn, batch: ipv4.NewPacketConn(conn), real: net.UDPAddrFromAddrPort(real)}
	r.second[real] = p
	r.running.Go(func() { r.receive(p) })
	return p, nil
}

// receive queues the datagrams to the second address of a program.
func (r *Relay) receive(to *port) {
	in := make([]ipv4.Message, maxBatch)
	for i := range in {
		in[i].Buffers = [][]byte{nil}
	}
	held := make([]*[maxDatagram]byte, maxBatch)
	for {
		for i := range in {
			if held[i] == nil {
				held[i] = buffers.Get().(*[maxDatagram]byte)
				in[i].Buffers[0] = held[i][:]
			}
		}
		n, err := to.batch.ReadBatch(in, 0)
		if err != nil {
			return // closed
		}
		now := time.Now()
		for i, m := range in[:n] {
			addr := m.Addr.(*net.UDPAddr).AddrPort()
			from, err := r.port(netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()))
			if err != nil {
				return
			}
			if rand.Float64() < r.path.Loss {
				continue
			}
			due := now.Add(r.path.RTT / 2)
			if r.path.Jitter > 0 {
				due = due.Add(rand.N(r.path.Jitter))
			}
			if r.add(packet{due: due, from: from, to: to, buffer: held[i], size: m.N}) {
				held[i] = nil
			}
		}
	}
}

// add queues a datagram, and reports whether there was room.
func (r *Relay) add(p packet) bool {
	r.mu.Lock()
	if len(r.queue) == maxQueue {
		r.mu.Unlock()
		return false
	}
	r.sent++
	p.number = r.sent
	heap.Push(&r.queue, p)
	first := r.queue[0].number == p.number
	r.mu.Unlock()
	if first {
		select {
		case r.alarm <- struct{}{}:
		default:
		}
	}
	return true
}

// take removes the datagrams that are due, and returns the time until the next one is.
func (r *Relay) take(due []packet) ([]packet, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for len(r.queue) > 0 && len(due) < cap(due) {
		if wait := r.queue[0].due.Sub(now); wait > 0 {
			return due, wait
		}
		due = append(due, heap.Pop(&r.queue).(packet))
	}
	if len(r.queue) > 0 {
		return due, 0
	}
	return due, time.Hour
}

// deliver sends the datagrams when they are due.
func (r *Relay) deliver() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	due, out := make([]packet, 0, maxBatch), make([]ipv4.Message, maxBatch)
	for i := range out {
		out[i].Buffers = [][]byte{nil}
	}
	for {
		all, wait := r.take(due[:0])
		for begin := 0; begin < len(all); {
			end := begin
			for ; end < len(all) && all[end].from == all[begin].from; end++ {
				p := all[end]
				out[end-begin].Addr, out[end-begin].Buffers[0] = p.to.real, p.buffer[:p.size]
			}
			send(all[begin].from.batch, out[:end-begin])
			begin = end
		}
		for _, p := range all {
			buffers.Put(p.buffer)
		}
		if len(all) > 0 && wait == 0 {
			continue
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-r.alarm:
		case <-r.done:
			return
		}
	}
}

// send sends a batch; a datagram that cannot be sent is lost.
func send(conn *ipv4.PacketConn, batch []ipv4.Message) {
	for len(batch) > 0 {
		n, err := conn.WriteBatch(batch, 0)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		batch = batch[min(max(n, 1), len(batch)):]
	}
}

// queue is a heap by due time, and by order of arrival.
type queue []packet

func (q queue) Len() int      { return len(q) }
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q queue) Less(i, j int) bool {
	if !q[i].due.Equal(q[j].due) {
		return q[i].due.Before(q[j].due)
	}
	return q[i].number < q[j].number
}
func (q *queue) Push(x any) { *q = append(*q, x.(packet)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	p := (*q)[last]
	(*q)[last] = packet{}
	*q = (*q)[:last]
	return p
}
