package udx

// mtuSearch finds the largest packet that the path carries (§11):
//
//	probe 1200 ──acked──► 1232 ──► 1264 ──► … ──► 1500 done
//	   └─lost 3 times─► done, the last acked size stays
//
// A probe is an ordinary packet with padding before its payload; one is out at a time. Where 1200 is known to be too much, it
// begins at 576.
type mtuSearch struct {
	size     int // known to pass; packets are cut to it
	probe    int // tried next
	limit    int
	attempts int
	out      bool // a probe is in flight
	done     bool
}

func (m *mtuSearch) start(base, limit int) {
	*m = mtuSearch{size: base, probe: base, limit: limit, done: limit <= base}
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
