package nat

import "net/netip"

// Sampler follows the public address of a node: the last sixteen samples vote, a few may disagree
// (npm nat-sampler). The zero Sampler is empty.
type Sampler struct {
	ring      []*sample        // pairs: the full address, the host alone
	from      []netip.AddrPort // the responder of each pair
	top       int              // where the next pair goes
	size      int              // samples so far, at most ringSize/2
	threshold int              // votes needed

	full, host *sample // the most voted so far

	result netip.AddrPort
}

// sample is an address that was reported, with the number of reports in the ring. Port 0 means any.
type sample struct {
	addr netip.AddrPort
	hits int
}

// Addr is our public host, invalid while unknown, and port, 0 while unknown or different for each
// remote.
func (s *Sampler) Addr() netip.AddrPort { return s.result }

// Host is our public address, invalid while unknown.
func (s *Sampler) Host() netip.Addr { return s.result.Addr() }

// Port is our public port. With a known host, 0 means that the port differs from remote to remote.
func (s *Sampler) Port() uint16 { return s.result.Port() }

// Len is the number of samples that vote.
func (s *Sampler) Len() int { return s.size }

// Samples lists those that vote, the oldest first.
func (s *Sampler) Samples() []Sample {
	list := make([]Sample, 0, len(s.from))
	for i := range s.from {
		at := (s.top/2 + i) % len(s.from)
		list = append(list, Sample{Seen: s.ring[2*at].addr, From: s.from[at]})
	}
	return list
}

// AddFrom is Add for a sample of a machine, which has no more votes than its share: one, and one more for each six of other machines.
// Beyond that its newest sample takes the place of its oldest ones. Three of sixteen votes are outvoted. Where no other machine
// has voted, all of its samples do: several nodes on one host may be the whole network. A preset address is no machine.
func (s *Sampler) AddFrom(addr, from netip.AddrPort) {
	own, others := 0, 0
	for _, f := range s.from {
		switch {
		case f.Addr() == from.Addr():
			own++
		case f.IsValid():
			others++
		}
	}
	if surplus := own - others/6; others > 0 && surplus > 0 {
		votes := s.Samples()
		*s = Sampler{}
		for _, v := range votes {
			if surplus > 0 && v.From.Addr() == from.Addr() {
				surplus--
				continue
			}
			s.Add(v.Seen, v.From)
		}
	}
	s.Add(addr, from)
}

// Add counts our address as seen by from. It returns how many of the searched samples agree.
func (s *Sampler) Add(addr, from netip.AddrPort) int {
	full := s.bump(addr, 2)
	host := s.bump(netip.AddrPortFrom(addr.Addr(), 0), 1)

	if len(s.ring) < ringSize {
		s.size++
		s.threshold = threshold(s.size)
		s.ring = append(s.ring, full, host)
		s.from = append(s.from, from)
	} else {
		if s.top == ringSize {
			s.top = 0
		}
		s.ring[s.top].hits--
		s.ring[s.top+1].hits--
		s.ring[s.top], s.ring[s.top+1] = full, host
		s.from[s.top/2] = from
	}
	s.top += 2

	if s.full == nil || s.full.hits < full.hits {
		s.full = full
	}
	if s.host == nil || s.host.hits < host.hits {
		s.host = host
	}
	s.conclude()
	return full.hits
}

func threshold(size int) int {
	switch {
	case size < 4:
		return size
	case size < 8:
		return size - 1
	case size < 12:
		return size - 2
	}
	return size - 3
}

func (s *Sampler) conclude() {
	switch {
	case s.full.hits >= s.threshold:
		s.result = s.full.addr
	case s.host.hits >= s.threshold:
		s.result = s.host.addr
	default:
		s.result = netip.AddrPort{}
	}
}

// bump finds addr among the latest samples and counts it. Only those are searched, so a sample that
// comes back later starts at zero.
func (s *Sampler) bump(addr netip.AddrPort, offset int) *sample {
	for i := range lookBack {
		at := (s.top - offset - 2*i) & (ringSize - 1)
		if at >= len(s.ring) {
			break
		}
		if x := s.ring[at]; x.addr == addr {
			x.hits++
			return x
		}
	}
	return &sample{addr: addr, hits: 1}
}
