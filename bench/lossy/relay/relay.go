// Package relay carries UDP datagrams between two peers on this machine as a long and lossy path does, for measurements of streams.
package relay

import (
	"container/heap"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"
)

// Link describes the path, which is the same in both directions.
type Link struct {
	Delay   time.Duration // of each direction
	Jitter  time.Duration // datagrams take up to that much longer, and overtake each other
	Loss    float64       // the share that is lost
	Reorder float64       // the share that takes Late longer
	Late    time.Duration
	Seed    uint64 // of what is lost and late
}

// Relay is a running relay. Each peer sends to one of its two sides, and receives from that.
type Relay struct {
	sides [2]*side
	done  sync.WaitGroup
}

// side is the socket that one peer knows, and the queue of what is on its way there.
type side struct {
	link Link
	conn *net.UDPConn
	pc   *ipv4.PacketConn
	peer atomic.Pointer[net.UDPAddr]
	rand *rand.Rand // of the datagrams that come from the peer

	mu     sync.Mutex
	more   *sync.Cond
	queue  packets
	number uint64
	closed bool
}

const (
	batch    = 64
	buffer   = 4 << 20
	maximum  = 2048 // bytes of a datagram
	interval = 200 * time.Microsecond
)

// New starts a relay on the loopback interface. A peer's address is taken from its datagrams where SetPeer has not set it.
func New(link Link) (*Relay, error) {
	r := &Relay{}
	for i := range r.sides {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			r.Close()
			return nil, err
		}
		_ = conn.SetReadBuffer(buffer) // as much as the system allows
		_ = conn.SetWriteBuffer(buffer)
		s := &side{link: link, conn: conn, pc: ipv4.NewPacketConn(conn), rand: rand.New(rand.NewPCG(link.Seed, uint64(i)))}
		s.more = sync.NewCond(&s.mu)
		r.sides[i] = s
	}
	for i, s := range r.sides {
		r.done.Go(func() { s.receive(r.sides[1-i]) })
		r.done.Go(s.send)
	}
	return r, nil
}

// Addr is the address that peer 0 or 1 sends to.
func (r *Relay) Addr(peer int) netip.AddrPort {
	return r.sides[peer].conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// SetPeer sets the address of peer 0 or 1.
func (r *Relay) SetPeer(peer int, addr netip.AddrPort) {
	r.sides[peer].peer.Store(net.UDPAddrFromAddrPort(addr))
}

// Close ends the relay. What is on its way is dropped.
func (r *Relay) Close() {
	for _, s := range r.sides {
		if s != nil {
			_ = s.conn.Close()
			s.mu.Lock()
			s.closed = true
			s.more.Signal()
			s.mu.Unlock()
		}
	}
	r.done.Wait()
}

// receive passes datagrams of the peer to the other side.
func (s *side) receive(other *side) {
	messages := newBatch()
	for {
		n, err := s.pc.ReadBatch(messages, 0)
		if err != nil {
			return
		}
		if s.peer.Load() == nil {
			s.peer.CompareAndSwap(nil, messages[0].Addr.(*net.UDPAddr))
		}
		now := time.Now()
		other.mu.Lock()
		for _, m := range messages[:n] {
			other.push(s.rand, now, m.Buffers[0][:m.N])
		}
		other.more.Signal()
		other.mu.Unlock()
	}
}

// push queues a datagram, or loses it.
func (s *side) push(r *rand.Rand, now time.Time, b []byte) {
	if r.Float64() < s.link.Loss {
		return
	}
	at := now.Add(s.link.Delay)
	if s.link.Jitter > 0 {
		at = at.Add(time.Duration(r.Int64N(int64(s.link.Jitter))))
	}
	if s.link.Reorder > 0 && r.Float64() < s.link.Reorder {
		at = at.Add(s.link.Late)
	}
	s.number++
	buf := pool.Get().(*[]byte)
	*buf = append((*buf)[:0], b...)
	heap.Push(&s.queue, packet{at: at, number: s.number, b: buf})
}

// send sends what is due, every interval.
func (s *side) send() {
	messages := newBatch()
	for {
		n := s.due(messages)
		if n < 0 {
			return
		}
		peer := s.peer.Load()
		for i := range messages[:n] {
			messages[i].Addr = peer
		}
		for sent := 0; sent < n && peer != nil; {
			k, err := s.pc.WriteBatch(messages[sent:n], 0)
			if err != nil {
				k = max(k, 1) // a datagram that the peer's socket refuses is lost
			}
			sent += k
		}
		if n < batch {
			time.Sleep(interval)
		}
	}
}

// due waits for datagrams, and puts those that are due into messages. It returns their number, or -1 after Close.
func (s *side) due(messages []ipv4.Message) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) == 0 && !s.closed {
		s.more.Wait()
	}
	if s.closed {
		return -1
	}
	now, n := time.Now(), 0
	for ; n < batch && len(s.queue) > 0 && !s.queue[0].at.After(now); n++ {
		p := heap.Pop(&s.queue).(packet)
		messages[n].Buffers[0] = append(messages[n].Buffers[0][:0], *p.b...)
		pool.Put(p.b)
	}
	return n
}

func newBatch() []ipv4.Message {
	messages := make([]ipv4.Message, batch)
	for i := range messages {
		messages[i].Buffers = [][]byte{make([]byte, maximum)}
	}
	return messages
}

var pool = sync.Pool{New: func() any { b := make([]byte, 0, maximum); return &b }}

// packet is a datagram on its way.
type packet struct {
	at     time.Time
	number uint64
	b      *[]byte
}

// packets is a heap of them, the next to arrive first.
type packets []packet

func (p packets) Len() int { return len(p) }
func (p packets) Less(i, j int) bool {
	if p[i].at.Equal(p[j].at) {
		return p[i].number < p[j].number
	}
	return p[i].at.Before(p[j].at)
}
func (p packets) Swap(i, j int) { p[i], p[j] = p[j], p[i] }
func (p *packets) Push(x any)   { *p = append(*p, x.(packet)) }
func (p *packets) Pop() any {
	old := *p
	x := old[len(old)-1]
	*p = old[:len(old)-1]
	return x
}
