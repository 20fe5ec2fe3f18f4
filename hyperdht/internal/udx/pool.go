package udx

// Pool keeps the buffers of many machines for reuse. Machines that run on one loop share one; it needs
// no lock. It grows to the peak of what was in use and no further than poolKept of each kind.
type Pool struct {
	packets []*packet
	small   [][]byte
	large   [][]byte
	pages   []*recvPage
	// scratch is the buffer of packets that are not kept: acks, messages, probes.
	scratch []byte
}

const (
	smallBuffer = 256
	// largeBuffer holds a full packet of the largest MTU; it is a size class of the allocator.
	largeBuffer = 1536
)

// NewPool returns an empty pool.
func NewPool() *Pool { return &Pool{} }

// build returns the scratch buffer, emptied. It is valid until the next build.
func (p *Pool) build() []byte {
	if p.scratch == nil {
		p.scratch = make([]byte, 0, MaxDatagram)
	}
	return p.scratch[:0]
}

// packet returns a packet with room for a full payload.
func (p *Pool) packet() *packet {
	if n := len(p.packets); n > 0 {
		pk := p.packets[n-1]
		p.packets = p.packets[:n-1]
		return pk
	}
	return &packet{buf: make([]byte, HeaderSize, largeBuffer)}
}

func (p *Pool) release(pk *packet) {
	if len(p.packets) < poolKept {
		*pk = packet{buf: pk.buf[:HeaderSize]}
		p.packets = append(p.packets, pk)
	}
}

// bufferSize is the size of the buffer for n bytes.
func bufferSize(n int) int {
	switch {
	case n == 0:
		return 0
	case n > largeBuffer:
		return n
	case n > smallBuffer:
		return largeBuffer
	}
	return smallBuffer
}

// buffer returns an empty buffer with room for n bytes.
func (p *Pool) buffer(n int) []byte {
	list, size := &p.small, smallBuffer
	switch {
	case n > largeBuffer:
		return make([]byte, 0, n)
	case n > smallBuffer:
		list, size = &p.large, largeBuffer
	}
	if k := len(*list); k > 0 {
		b := (*list)[k-1]
		*list = (*list)[:k-1]
		return b
	}
	return make([]byte, 0, size)
}

func (p *Pool) recycle(b []byte) {
	switch cap(b) {
	case smallBuffer:
		if len(p.small) < poolKept {
			p.small = append(p.small, b[:0])
		}
	case largeBuffer:
		if len(p.large) < poolKept {
			p.large = append(p.large, b[:0])
		}
	}
}

// page returns an empty page of packets above a gap.
func (p *Pool) page() *recvPage {
	if n := len(p.pages); n > 0 {
		page := p.pages[n-1]
		p.pages = p.pages[:n-1]
		return page
	}
	return &recvPage{}
}

// recyclePage takes an empty page back.
func (p *Pool) recyclePage(page *recvPage) {
	if len(p.pages) < poolKept {
		p.pages = append(p.pages, page)
	}
}
