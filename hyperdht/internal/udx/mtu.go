package udx

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/internal/states"
)

// mtuSearch finds the largest packet that the path carries (§11). It tries 1200 bytes, then 1232, 1264 and so on to 1500; a probe
// that is lost 3 times is the last one, and the last acked size stays. A probe is an ordinary packet with padding before its
// payload; one is out at a time. Where 1200 is known to be too much, the search begins at 576. Its states are those of mtuTable.
type mtuSearch struct {
	base     int // where it began
	size     int // known to pass; packets are cut to it
	probe    int // tried next
	limit    int
	attempts int
	state    mtuState
	narrow   func(netip.Addr) bool // see Config.Narrow
}

// start begins to search the path to a remote.
func (m *mtuSearch) start(r *Remote) {
	base := baseMTU
	if r != nil && m.narrow != nil && m.narrow(r.Addr.Addr()) {
		base = narrowMTU
	}
	*m = mtuSearch{base: base, size: base, probe: base, limit: m.limit, narrow: m.narrow}
	if m.limit <= base {
		m.state = mtuDone // nothing to search
	}
}

// padding returns how many bytes make a packet of the given size, all headers included, the next
// probe, and whether it can be one.
func (m *mtuSearch) padding(size int) (int, bool) {
	pad := m.probe - size
	if m.state != mtuReady || pad < 0 || pad > len(padding) {
		return 0, false
	}
	return pad, true
}

// sent notes that the probe leaves.
func (m *mtuSearch) sent(faults *states.Faults) { mtuTable.Become(&m.state, mtuProbing, faults) }

func (m *mtuSearch) acked(faults *states.Faults) {
	m.attempts = 0
	m.size = m.probe
	m.goOn(m.probe < m.limit, faults)
	m.probe = min(m.probe+mtuStep, m.limit)
}

func (m *mtuSearch) lost(faults *states.Faults) {
	m.attempts++
	m.goOn(m.attempts < mtuAttempts, faults)
}

// goOn follows the fate of a probe.
func (m *mtuSearch) goOn(more bool, faults *states.Faults) {
	next := mtuDone
	if more {
		next = mtuReady
	}
	mtuTable.Become(&m.state, next, faults)
}

// Width is the known width of a path that has lost packets of the usual size.
type Width uint8

// The kinds of Width: nothing, that they still get lost, or that they pass.
const (
	UnknownWidth Width = iota
	Narrow
	Wide
)

// Width is UnknownWidth for a machine that began with packets of the usual size.
func (m *Machine) Width() Width {
	switch {
	case m.mtu.base >= baseMTU:
	case m.mtu.size >= baseMTU:
		return Wide
	case m.mtu.state == mtuDone:
		return Narrow
	}
	return UnknownWidth
}
