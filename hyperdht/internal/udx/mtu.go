package udx

// mtuSearch finds the largest packet that the path carries (§11):
//
//	probe 1200 ──acked──► 1232 ──► 1264 ──► … ──► 1500 done
//	   └─lost 3 times─► done, the last acked size stays
//
// A probe is an ordinary packet with padding before its payload; one is out at a time. Where 1200 is known to be too much, it
// begins at 576.
type mtuSearch struct {
	base     int // where it began
	size     int // known to pass; packets are cut to it
	probe    int // tried next
	limit    int
	attempts int
	out      bool // a probe is in flight
	done     bool
}

func (m *mtuSearch) start(base, limit int) {
	*m = mtuSearch{base: base, size: base, probe: base, limit: limit, done: limit <= base}
}

// padding returns how many bytes make a packet of the given size, all headers included, the next
// probe, and whether it can be one.
func (m *mtuSearch) padding(size int) (int, bool) {
	pad := m.probe - size
	if m.done || m.out || pad < 0 || pad > len(padding) {
		return 0, false
	}
	return pad, true
}

func (m *mtuSearch) acked() {
	m.out, m.attempts = false, 0
	m.size = m.probe
	if m.probe == m.limit {
		m.done = true
	}
	m.probe = min(m.probe+mtuStep, m.limit)
}

func (m *mtuSearch) lost() {
	m.out = false
	m.attempts++
	m.done = m.attempts >= mtuAttempts
}

// Width is what a machine has found out of a path whose packets of the usual size got lost before.
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
	case m.mtu.done:
		return Narrow
	}
	return UnknownWidth
}
