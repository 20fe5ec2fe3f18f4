package nat

import "net/netip"

// Kind is the mapping of one of our sockets by a NAT. The values are those of the wire.
type Kind uint8

// The kinds of hyperdht lib/constants.js.
const (
	Unknown    Kind = iota
	Open            // reachable without any help
	Consistent      // every remote sees the same port
	Random          // every remote sees another port
)

var kindNames = [...]string{"unknown", "open", "consistent", "random"}

// String returns the kind as text.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "invalid"
}

// Sample is our address as one responder sees it.
type Sample struct {
	Seen, From netip.AddrPort
}

// Classifier classifies one socket by what the nodes it talked to saw (hyperdht lib/nat.js).
//
// Three samples that are equal mean Consistent, three of which no two are mean Random. Where two are equal, four or five samples
// decide, see judge; where no more are to be had, two do, see Conclude.
//
// In doubt, Consistent is Random, see Doubt.
//
// A later sample may change the verdict until it is frozen. A node that is not firewalled is Open.
type Classifier struct {
	hosts   []tally // port 0
	full    []tally
	samples []Sample

	sampled int
	kind    Kind
	addrs   []netip.AddrPort
	frozen  bool
	settled bool
	open    bool // not firewalled, as of the last call
	few     bool // no more samples are to be had, see Conclude
	doubt   bool // see Doubt
}

type tally struct {
	addr netip.AddrPort
	hits int
}

// NewClassifier makes a classifier for a socket of a node that is firewalled or not.
func NewClassifier(firewalled bool) *Classifier {
	c := &Classifier{open: !firewalled}
	if c.open {
		c.kind = Open
	}
	return c
}

// NewKnown makes a classifier with a verdict: every remote sees the socket at an address. Samples do not change it.
func NewKnown(addr netip.AddrPort) *Classifier {
	return &Classifier{kind: Consistent, addrs: []netip.AddrPort{addr}, frozen: true, settled: true}
}

// Firewall is the verdict so far.
func (c *Classifier) Firewall() Kind { return c.kind }

// Addrs returns the addresses to send to the other peer: nil while unknown or open, the host with port 0 if random, else
// the addresses seen most often. The slice is the classifier's own.
func (c *Classifier) Addrs() []netip.AddrPort { return c.addrs }

// Seen is the address that most responders saw us at, whatever the verdict; invalid while there is none.
func (c *Classifier) Seen() netip.AddrPort {
	if len(c.full) == 0 {
		return netip.AddrPort{}
	}
	return c.full[0].addr
}

// Sampled is the number of responders counted.
func (c *Classifier) Sampled() int { return c.sampled }

// Samples are those counted, in the order in which they came. The slice is the classifier's own.
func (c *Classifier) Samples() []Sample { return c.samples }

// Settled reports whether the verdict is as good as it gets without waiting for more than
// SamplesWanted samples.
func (c *Classifier) Settled() bool { return c.settled }

// Freeze keeps the current verdict, so that both peers punch by the addresses that they exchanged.
func (c *Classifier) Freeze() { c.frozen = true }

// Conclude reports that no more samples will come, so that two suffice: Consistent if they agree, Random if
// they differ. One alone yields no verdict.
//
// The reference implementation never decides with fewer than three and so cannot punch on a private DHT of one or two nodes.
// The remote cannot distinguish this verdict from any other. Two that agree may mislead if a NAT gives a socket
// one port for each remote host and both came from one host; then punching fails, as it would have before.
func (c *Classifier) Conclude() {
	c.few = true
	if !c.frozen {
		c.judge()
		c.collect()
	}
}

// Doubt makes a NAT that looks consistent count as random, because sockets behind it have changed their address
// while in use: equal samples at one time do not predict the next. The reference implementation has no such rule. Call it
// before Add.
func (c *Classifier) Doubt() { c.doubt = true }

// Unfreeze lets samples count again, those that came meanwhile too.
func (c *Classifier) Unfreeze() {
	c.frozen = false
	c.judge()
	c.collect()
}

// Add takes the address that a responder saw us at, and whether the node is firewalled now. Each
// responder counts once.
func (c *Classifier) Add(seen, from netip.AddrPort, firewalled bool) {
	c.open = !firewalled
	for _, s := range c.samples {
		if s.From == from {
			return
		}
	}
	if len(c.samples) >= maxResponders {
		return
	}
	c.samples = append(c.samples, Sample{Seen: seen, From: from})

	c.hosts = count(c.hosts, netip.AddrPortFrom(seen.Addr(), 0))
	c.full = count(c.full, seen)
	c.sampled++

	if (c.sampled >= c.needed() || c.open) && !c.frozen {
		if !c.open && c.kind == Open {
			c.kind = Unknown
		}
		c.judge()
		c.collect()
	}
	if c.kind == Consistent || c.kind == Open || c.sampled >= SamplesWanted {
		c.settled = true
	}
}

// Contradictory reports whether two samples are equal and others differ, so that it takes more of them: a NAT whose port
// depends on the remote has another one for each.
func (c *Classifier) Contradictory() bool {
	return c.sampled >= SamplesWanted && !c.doubt && c.full[0].hits == 2 && (c.kind == Random || c.kind == Unknown)
}

func (c *Classifier) needed() int {
	if c.few {
		return FewSamples
	}
	return SamplesNeeded
}

func (c *Classifier) judge() {
	if c.open {
		c.kind = Open
		return
	}
	if c.sampled < c.needed() {
		return
	}
	switch most := c.full[0].hits; {
	case c.sampled == FewSamples && most == FewSamples:
		c.kind = Consistent
	case most >= 3:
		c.kind = Consistent
	case most == 1:
		c.kind = Random
	case len(c.hosts) == 1 && c.sampled > 3:
		c.kind = Random // one host, and two samples off
	case len(c.hosts) > 1 && c.full[1].hits > 1:
		c.kind = Consistent // two addresses with one port each: several uplinks
	case c.sampled > 4:
		c.kind = Random
	}
	if c.doubt && c.kind == Consistent {
		c.kind = Random
	}
}

func (c *Classifier) collect() {
	switch c.kind {
	case Unknown:
		c.addrs = nil
	case Random:
		c.addrs = []netip.AddrPort{c.hosts[0].addr}
	case Consistent:
		c.addrs = nil
		for _, t := range c.full {
			if t.hits >= 2 || len(c.addrs) < 2 {
				c.addrs = append(c.addrs, t.addr)
			}
		}
	}
}

// count adds a hit to addr and keeps the list ordered by hits.
func count(list []tally, addr netip.AddrPort) []tally {
	for i := range list {
		if list[i].addr != addr {
			continue
		}
		list[i].hits++
		for ; i > 0 && list[i-1].hits < list[i].hits; i-- {
			list[i-1], list[i] = list[i], list[i-1]
		}
		return list
	}
	return append(list, tally{addr, 1})
}
