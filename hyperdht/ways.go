package hyperdht

import (
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/ports/host"
)

// WayOutcome is the outcome of one way to a server that a dial has considered.
type WayOutcome uint8

// The outcomes.
const (
	// WayTrying: no outcome yet. A relay carries the connection, and this way is still tried.
	WayTrying WayOutcome = iota
	// WaySelected: the first packet that decrypts came on it.
	WaySelected
	// WaySilent: nothing came back on it, before another way was selected or the dial failed.
	WaySilent
	// WayLater: the peer or relay answered on it, but the first packet that decrypts came on another way.
	WayLater
	// WayUnproven: a packet came on it, but no packet that decrypts came on any way.
	WayUnproven
	// WayFailed: it was abandoned, see Err.
	WayFailed
	// WayReplaced: it carried the connection until a better way was validated.
	WayReplaced
	// WayUnneeded: not tried, because the server is open, or another way was selected before its turn.
	WayUnneeded
	// WayExcluded: not tried, because a path rule or another option of this side excludes it.
	WayExcluded
	// WayUnavailable: not tried, because its precondition is not met: a relay that one side names, or a server that is open,
	// is in the same network, or can punch.
	WayUnavailable
)

var wayOutcomes = [...]string{
	WayTrying: "trying", WaySelected: "selected", WaySilent: "silent", WayLater: "later", WayUnproven: "unproven", WayFailed: "failed",
	WayReplaced: "replaced", WayUnneeded: "unneeded", WayExcluded: "excluded", WayUnavailable: "unavailable",
}

// String returns the outcome as one word.
func (o WayOutcome) String() string { return wayOutcomes[o] }

// wayLog records the ways of a dial until the connection has a direct path, or has closed. A nil log records nothing.
type wayLog struct {
	conn    *Connection
	list    []wayRecord
	decided bool // the outcomes were reported, and each later one is reported by itself
	punch   punchRecord
}

type wayRecord struct {
	path            Path
	addr            netip.AddrPort // invalid while unknown
	outcome         WayOutcome
	tried, answered host.Instant // zero for never
	err             error
}

// maxWayRecords bounds the recorded ways of a dial: the most that are tried, a relay, and one of each path that has no
// address yet.
const maxWayRecords = maxLANTries + maxDirectWays + 4

// at returns the record of a way, which may be one whose address was not known before; nil if there are too many.
func (l *wayLog) at(path Path, addr netip.AddrPort) *wayRecord {
	for _, known := range []netip.AddrPort{addr, {}} {
		i := slices.IndexFunc(l.list, func(r wayRecord) bool { return r.path == path && r.addr == known })
		if i >= 0 {
			l.list[i].addr = addr
			return &l.list[i]
		}
	}
	if len(l.list) >= maxWayRecords {
		return nil
	}
	l.list = append(l.list, wayRecord{path: path, addr: addr})
	return &l.list[len(l.list)-1]
}

// try records that packets leave on a way.
func (l *wayLog) try(path Path, addr netip.AddrPort) {
	if l == nil {
		return
	}
	if r := l.at(path, addr); r != nil && r.tried == 0 {
		r.tried, r.outcome, r.err = l.conn.p.host.Now(), WayTrying, nil
	}
}

// answer records the first packet on a way.
func (l *wayLog) answer(path Path, addr netip.AddrPort) {
	if l == nil {
		return
	}
	l.try(path, addr)
	if r := l.at(path, addr); r != nil && r.answered == 0 {
		r.answered = l.conn.p.host.Now()
	}
}

// fail records the failure of a way, nil for silence, or of all those of a path that have no outcome yet if addr is invalid.
func (l *wayLog) fail(path Path, addr netip.AddrPort, err error) {
	if l == nil {
		return
	}
	for i := range l.list {
		r := &l.list[i]
		if r.path != path || r.outcome != WayTrying || addr.IsValid() && r.addr != addr {
			continue
		}
		switch {
		case path == PathPunched && r.answered != 0:
			continue // the probe that came stays
		case err == nil:
			r.outcome = WaySilent
		default:
			r.outcome, r.err = WayFailed, err
		}
		if l.decided {
			l.report(*r)
		}
	}
}

// punchRecord has the results of a punch.
type punchRecord struct {
	natKinds
	err error // why it has failed; nil for one that has not
}

// punched records what a punch has found so far.
func (l *wayLog) punched(k natKinds, err error) {
	if l != nil {
		l.punch.update(k)
		l.punch.err = err
	}
}

// leave records paths that are not tried.
func (l *wayLog) leave(why WayOutcome, paths ...Path) {
	if l == nil {
		return
	}
	for _, p := range paths {
		if !slices.ContainsFunc(l.list, func(r wayRecord) bool { return r.path == p }) {
			l.list = append(l.list, wayRecord{path: p, outcome: why})
		}
	}
}

// won reports the outcomes: a way was selected, or replaces the relay.
func (l *wayLog) won(path Path, addr netip.AddrPort) {
	if l == nil {
		return
	}
	if l.at(path, addr) == nil {
		l.list = l.list[:maxWayRecords-1]
	}
	l.answer(path, addr)
	for i := range l.list {
		r := &l.list[i]
		switch {
		case r.path == path && r.addr == addr:
			r.outcome = WaySelected
		case r.outcome == WaySelected:
			r.outcome = WayReplaced
		case r.outcome != WayTrying:
			if l.decided {
				continue // reported before
			}
		case r.answered != 0:
			r.outcome = WayLater
		case path != PathRelayed:
			r.outcome = WaySilent
		}
		l.report(*r)
	}
	l.decided = true
}

// lost reports the outcomes of a dial that has failed.
func (l *wayLog) lost() {
	if l == nil || l.decided {
		return
	}
	for _, r := range l.list {
		switch {
		case r.outcome != WayTrying:
		case r.answered != 0:
			r.outcome = WayUnproven
		default:
			r.outcome = WaySilent
		}
		l.report(r)
	}
}

func (l *wayLog) report(r wayRecord) {
	l.conn.attemptTrace.note(AttemptEvent{
		Step: AttemptWay, Path: r.path, Addr: r.addr, Outcome: r.outcome, Tried: r.tried, Answered: r.answered, Err: r.err,
	})
}
