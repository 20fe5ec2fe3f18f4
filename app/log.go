package app

import (
	"bytes"
	"context"
	"log/slog"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/bound"
	"github.com/dhtprom/dhtprom/ports/host"
)

var (
	logPace         = bound.Pace{Burst: logBurst, Every: logEvery}
	logPeerPace     = bound.Pace{Burst: logPeerBurst, Every: logPeerEvery}
	logStrangerPace = bound.Pace{Burst: logStrangerBurst, Every: logStrangerEvery}
)

// EventLog writes events as log lines: the event's name as the message, its fields as attributes. Peers cause most events, at any
// rate, so lines are limited for each kind of event: per peer, and for all peers together. Suppressed lines are counted, and once
// a minute a line has their number for each kind. Events of the operator and of the program itself are all written.
type EventLog struct {
	host  host.Host
	log   *slog.Logger
	kinds map[string]*logKind
	names []string // of kinds, in the order of their first events
	timer host.Timer
	armed bool
}

// logKind is one kind of event.
type logKind struct {
	all   *bound.Bucket
	peers map[domain.PublicKey]*logPeer

	// Since the last summary.
	suppressed int
	level      slog.Level // the highest of them
	others     int        // of them, of peers that are not in peers
}

// logPeer is a peer of which an event was logged.
type logPeer struct {
	lines      *bound.Bucket
	idle       host.Instant // time at which the bucket is full again
	suppressed int
}

// NewEventLog returns a log of events on h's loop.
func NewEventLog(h host.Host, log *slog.Logger) *EventLog {
	return &EventLog{host: h, log: slog.New(sourceless{log.Handler()}), kinds: map[string]*logKind{}}
}

// LogEvents returns a listener that writes events to an EventLog of its own.
func LogEvents(h host.Host, log *slog.Logger) func(domain.Event) {
	return NewEventLog(h, log).Listener()
}

// Listener returns an event listener. Its lines have the attributes attrs, as in slog.Logger.With. Listeners of one log share its
// limits.
func (l *EventLog) Listener(attrs ...any) func(domain.Event) {
	log := l.log
	if len(attrs) > 0 {
		log = log.With(attrs...)
	}
	return func(e domain.Event) {
		// Logging needs no context.
		r := e.LogRecord()
		if ctx := context.Background(); log.Enabled(ctx, r.Level) && l.admit(r) {
			log.LogAttrs(ctx, r.Level, r.Name, r.Attrs...)
		}
	}
}

// admit reports whether an event may be logged, and counts it if not.
func (l *EventLog) admit(r domain.LogRecord) bool {
	if r.Limit == domain.LogUnlimited {
		return true
	}
	k := l.kinds[r.Kind]
	if k == nil {
		pace := logPace
		if r.Limit == domain.LogStrangers {
			pace = logStrangerPace
		}
		k = &logKind{all: bound.NewBucket(l.host.Now(), pace), peers: map[domain.PublicKey]*logPeer{}}
		l.kinds[r.Kind] = k
		l.names = append(l.names, r.Kind)
	}
	if k.take(l.host.Now(), r.Peer) {
		return true
	}
	if k.suppressed == 0 {
		k.level = r.Level
	}
	k.suppressed++
	k.level = max(k.level, r.Level)
	l.arm()
	return false
}

// take uses a token of the peer and one of all peers.
func (k *logKind) take(now host.Instant, peer domain.PublicKey) bool {
	p := k.peers[peer]
	if p != nil && !p.lines.Take(now) {
		p.suppressed++
		return false
	}
	if !k.all.Take(now) {
		if p != nil {
			p.lines.Return()
			p.suppressed++
		} else {
			k.others++
		}
		return false
	}
	if p == nil && !peer.IsZero() && len(k.peers) < maxLogPeers {
		p = &logPeer{lines: bound.NewBucket(now, logPeerPace)}
		p.lines.Take(now)
		k.peers[peer] = p
	}
	if p != nil {
		p.idle = now.Add(time.Duration(logPeerPace.Burst) * logPeerPace.Every)
	}
	return true
}

func (l *EventLog) arm() {
	switch {
	case l.armed:
		return
	case l.timer == nil:
		l.timer = l.host.AfterFunc(logSummary, l.summarise)
	default:
		l.timer.Reset(logSummary)
	}
	l.armed = true
}

// summarise writes the number of suppressed lines, and removes quiet peers.
func (l *EventLog) summarise() {
	l.armed = false
	for _, name := range l.names {
		k := l.kinds[name]
		loudest, most, peers := domain.PublicKey{}, 0, 0
		for key, p := range k.peers {
			if p.suppressed > 0 {
				peers++
			}
			if p.suppressed > most || p.suppressed == most && most > 0 && bytes.Compare(key[:], loudest[:]) < 0 {
				loudest, most = key, p.suppressed
			}
			if p.suppressed = 0; p.idle.Before(l.host.Now()) {
				delete(k.peers, key)
			}
		}
		if k.suppressed == 0 {
			continue
		}
		attrs := []slog.Attr{
			slog.String("event", name), slog.Int("suppressed", k.suppressed), slog.String("in", logSummary.String()), slog.Int("peers", peers),
		}
		if most > 0 {
			attrs = append(attrs, slog.String("remote_key", loudest.String()), slog.Int("of_this_key", most))
		}
		if k.others > 0 {
			attrs = append(attrs, slog.Int("of_other_keys", k.others))
		}
		l.log.LogAttrs(context.Background(), k.level, "events-suppressed", attrs...)
		k.suppressed, k.others = 0, 0
	}
}

// sourceless omits the source position: it would be the same line of this file for every event.
type sourceless struct{ slog.Handler }

func (s sourceless) Handle(ctx context.Context, r slog.Record) error {
	r.PC = 0
	return s.Handler.Handle(ctx, r)
}
