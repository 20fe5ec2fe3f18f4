package domain

import (
	"log/slog"
	"time"
)

// LogRecord is an event as a log line, with what a log needs to limit such lines.
type LogRecord struct {
	Name  string // the message: the name of the reference implementation's event, where there is one
	Level slog.Level
	Attrs []slog.Attr

	// Kind names the lines that the limit counts together: the event's name, with one of a fixed set of words for some events.
	Kind string
	// Peer is the peer that caused the event; zero for none.
	Peer  PublicKey
	Limit LogLimit
}

// LogLimit selects a limit on the lines of a kind of event.
type LogLimit uint8

// The limits.
const (
	LogPeers     LogLimit = iota // for events that known peers cause
	LogStrangers                 // for events that any peer can cause, with any number of keys
	LogUnlimited                 // for events of the operator, and those that happen once in a run
)

// The levels, which a test holds for each event: WARN and ERROR for failures that an operator must act on, INFO for connections and changes
// of state, DEBUG for steps towards an event with a line of its own, and for all that peers without a secret cause, which has a counter.

func debug(name string) LogRecord   { return newLogRecord(name, slog.LevelDebug) }
func info(name string) LogRecord    { return newLogRecord(name, slog.LevelInfo) }
func warn(name string) LogRecord    { return newLogRecord(name, slog.LevelWarn) }
func failure(name string) LogRecord { return newLogRecord(name, slog.LevelError) }

// connection is the record of a connection event. Peers without a secret may connect to the registration service.
func connection(name string, side Side) LogRecord {
	if side == SideRegister {
		return debug(name)
	}
	return info(name)
}

func newLogRecord(name string, level slog.Level) LogRecord {
	return LogRecord{Name: name, Kind: name, Level: level, Attrs: make([]slog.Attr, 0, 8)}
}

// strangers limits the record as one that any peer can cause; unlimited removes the limit.
func (r LogRecord) strangers() LogRecord { return r.limit(LogStrangers) }
func (r LogRecord) unlimited() LogRecord { return r.limit(LogUnlimited) }

func (r LogRecord) limit(l LogLimit) LogRecord {
	r.Limit = l
	return r
}

// counts adds a word to the kind.
func (r LogRecord) counts(word string) LogRecord {
	r.Kind += " " + word
	return r
}

// by sets the peer that caused the event.
func (r LogRecord) by(k PublicKey) LogRecord {
	r.Peer = k
	return r
}

// The methods below return the record with one or more attributes added.

func (r LogRecord) with(attrs ...slog.Attr) LogRecord {
	r.Attrs = append(r.Attrs, attrs...)
	return r
}

func (r LogRecord) text(name, value string) LogRecord      { return r.with(slog.String(name, value)) }
func (r LogRecord) count(name string, n int) LogRecord     { return r.with(slog.Int(name, n)) }
func (r LogRecord) flag(name string, set bool) LogRecord   { return r.with(slog.Bool(name, set)) }
func (r LogRecord) key(name string, k PublicKey) LogRecord { return r.text(name, k.String()) }
func (r LogRecord) remote(k PublicKey) LogRecord           { return r.key("remote_key", k).by(k) }
func (r LogRecord) scraper(k PublicKey) LogRecord          { return r.key("scraper", k).by(k) }
func (r LogRecord) uid(u UID) LogRecord                    { return r.text("uid", u.String()) }
func (r LogRecord) alias(a Alias) LogRecord                { return r.text("alias", string(a)) }
func (r LogRecord) pin(p Pin) LogRecord                    { return r.alias(p.Alias).key("target_key", p.Key) }
func (r LogRecord) err(err error) LogRecord                { return r.with(slog.Any("err", err)) }

// failed adds the error of a connection or exchange with a peer, and its explanation if the cause is known.
func (r LogRecord) failed(err error, peer string) LogRecord {
	r = r.err(err)
	if known := Explain(err, peer); known.Text != "" {
		r = r.text("hint", known.String())
	}
	return r
}

// duration adds a duration as text with its unit, rounded to three digits or less. Handlers differ in how they write durations: JSON has
// nanoseconds without a unit.
func (r LogRecord) duration(name string, d time.Duration) LogRecord {
	unit := time.Nanosecond
	for d >= 1000*unit {
		unit *= 10
	}
	return r.with(slog.String(name, d.Round(unit).String()))
}

// keyIfSet adds a key unless it is zero.
func (r LogRecord) keyIfSet(name string, k PublicKey) LogRecord {
	if k.IsZero() {
		return r
	}
	return r.key(name, k)
}

// aliasIfSet adds an alias unless it is empty.
func (r LogRecord) aliasIfSet(a Alias) LogRecord {
	if a == "" {
		return r
	}
	return r.alias(a)
}

// countIfSet adds a number unless it is zero.
func (r LogRecord) countIfSet(name string, n int) LogRecord {
	if n == 0 {
		return r
	}
	return r.count(name, n)
}

// rejectedTargets adds the number of targets that were rejected, and the first of them. If there are any, the record is a warning.
func (r LogRecord) rejectedTargets(n int, first RejectedTarget) LogRecord {
	if n == 0 {
		return r
	}
	r.Level = slog.LevelWarn
	return r.count("rejected", n).rejected(first.Alias).text("reason", first.Reason)
}

// side adds a connection's side, if the event has it.
func (r LogRecord) side(s Side) LogRecord {
	if s == "" {
		return r
	}
	return r.text("side", string(s)).counts(string(s))
}

// peer adds the peer that caused the event: its key, and its address if that is known.
func (r LogRecord) peer(p Peer) LogRecord {
	r = r.remote(p.Key)
	if p.Addr.IsValid() {
		r = r.text("remote_address", p.Addr.String())
	}
	return r
}

func (r LogRecord) register(g Register) LogRecord {
	return r.alias(g.Alias).key("target_key", g.Key).text("hostname", g.Hostname).text("service", g.Service)
}

func (r LogRecord) entry(e Entry) LogRecord {
	return r.register(Register{Alias: e.Alias, Key: e.Key, Hostname: e.Hostname, Service: e.Service}).with(slog.Time("expires", e.Expires)).by(e.Key)
}

// rejected adds an alias that was rejected, perhaps for its length, so the text is cut.
func (r LogRecord) rejected(a Alias) LogRecord { return r.text("alias", clip(string(a), MaxAlias)) }

// skipped adds the number of records that were skipped and the reason of the first. The record becomes a warning then: the
// operator should see that entries are missing.
func (r LogRecord) skipped(reasons []error) LogRecord {
	if len(reasons) == 0 {
		return r
	}
	r.Level = slog.LevelWarn
	return r.count("skipped", len(reasons)).err(reasons[0])
}

// clip bounds text from the network that was rejected for its length.
func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}
