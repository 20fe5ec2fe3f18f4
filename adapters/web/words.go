package web

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/dhtprom/dhtprom/domain"
)

// This file formats values for the status pages.

// condition is the state of an alias on the status pages: a summary of the last scrape and the connection.
type condition string

const (
	up      condition = "up"
	down    condition = "down"
	waiting condition = "new" // no result yet
	overdue condition = "expired"
	away    condition = "away" // another member of the group holds the connection, and it was not scraped here
)

// conditions are all of them, the worst first.
var conditions = []condition{down, overdue, waiting, up, away}

func conditionOf(a domain.AliasStatus) condition {
	scraped := !a.Scrape.At.IsZero()
	switch {
	case a.Overdue:
		return overdue
	case scraped && a.Scrape.Err != nil, !connected(a) && a.Why != nil:
		return down
	case connected(a) && scraped:
		return up
	case a.Holder != "":
		return away
	default:
		return waiting
	}
}

// connected reports whether an alias has a connection, here or at another member of the group as far as is known.
func connected(a domain.AliasStatus) bool { return a.SessionUp || a.Holder != "" }

func (c condition) rank() int {
	for i, other := range conditions {
		if c == other {
			return i
		}
	}
	return len(conditions)
}

// Mark returns a shape, for users that cannot distinguish colors.
func (c condition) Mark() string {
	return map[condition]string{up: "●", down: "▲", waiting: "○", overdue: "✕", away: "◇"}[c]
}

// Word returns the condition's name in a table.
func (c condition) Word() string {
	return map[condition]string{up: "Up", down: "Down", waiting: "New", overdue: "Expired", away: "Elsewhere"}[c]
}

// sessionWords describes the state of the connection.
func sessionWords(a domain.AliasStatus) string {
	switch {
	case a.SessionUp:
		return "Connected"
	case a.Holder != "":
		return "Held by " + oneLine(a.Holder)
	case a.Session == domain.SessionConnecting && a.Why != nil:
		return "Connecting again"
	case a.Session == domain.SessionConnecting:
		return "Connecting"
	case a.Session == domain.SessionWaiting:
		return "Waiting"
	default:
		return "Not connected"
	}
}

// pathWords returns a path's name and its explanation.
func pathWords(p domain.Path) (word, meaning string) {
	switch p {
	case domain.PathLAN:
		return "LAN", "over the local network, or on this machine"
	case domain.PathDirect:
		return "Direct", "one side has an open address"
	case domain.PathPunched:
		return "Punched", "directly, through holes that both sides punched into their NATs"
	case domain.PathRelay:
		return "Relayed", "through a third party, which is slower"
	case domain.PathTURN:
		return "TURN", "through the TURN server of this scraper, from which no UDP gets out"
	default:
		return "", ""
	}
}

// errorWords describes a failed scrape or a missing connection.
func errorWords(err error) string {
	if err == nil {
		return ""
	}
	remote, isRemote := errors.AsType[*domain.RemoteError](err)
	late, isLate := errors.AsType[*domain.TimeoutError](err)
	switch {
	case isRemote:
		return "The client could not collect its metrics: " + oneLine(remote.Message)
	case domain.CauseOf(err) != "":
		// The code at the start of the error is for those who search for it.
		return sentence(oneLine(domain.Describe(withoutState(err), domain.PeerClient)))
	case errors.Is(err, domain.ErrNotConnected):
		if cause := strings.TrimPrefix(err.Error(), domain.ErrNotConnected.Error()+": "); cause != err.Error() {
			return "No connection to the client: " + oneLine(cause)
		}
		return "No connection to the client yet"
	case isLate:
		return fmt.Sprintf("No answer in time: waited %s for %s", span(late.After), oneLine(late.Waiting))
	case errors.Is(err, domain.ErrClosed):
		return "The connection was closed"
	default:
		return sentence(oneLine(err.Error()))
	}
}

// troubleOf describes the failure of an alias's last scrape, or why it is not connected; empty for neither.
func troubleOf(a domain.AliasStatus) string {
	switch {
	case a.Scrape.Err != nil:
		return errorWords(a.Scrape.Err)
	case !connected(a) && a.Why != nil:
		return errorWords(fmt.Errorf("%w: %w", domain.ErrNotConnected, a.Why))
	}
	return ""
}

// withoutState returns the error that is the reason of a missing connection, or err itself.
func withoutState(err error) error {
	if e, ok := errors.AsType[domain.CauseError](err); ok && errors.Is(err, domain.ErrNotConnected) {
		return e
	}
	return err
}

func sentence(s string) string {
	r := []rune(s)
	if len(r) > 0 {
		r[0] = unicode.ToUpper(r[0])
	}
	return string(r)
}

// reasonWords describes the reason of a rejected registration.
func reasonWords(reason string) string {
	words := map[string]string{
		domain.ReasonUnauthorised: "Wrong secret",
		domain.ReasonBadName:      "Name not allowed",
		domain.ReasonTableFull:    "Too many aliases",
		domain.ReasonRateLimit:    "Too many requests",
		domain.ReasonOverloaded:   "Overloaded",
		domain.ReasonNoProof:      "Key not proven",
		domain.ReasonPinned:       "Alias belongs to another key",
		domain.ReasonNotAllowed:   "Alias not allowed for the identity",
		domain.ReasonIdentity:     "Alias belongs to another identity",
		domain.ReasonStore:        "Not stored",
	}
	if w := words[reason]; w != "" {
		return w
	}
	return reason
}

// limitWords describes the limit that denied a connection.
func limitWords(limit string) string {
	return map[string]string{
		domain.LimitTotal:           "Total connections",
		domain.LimitUnauthenticated: "Connections without a secret",
		domain.LimitKey:             "Connections of one key",
		domain.LimitAddress:         "Connections of one address beyond its share",
		domain.LimitRefusals:        "Rejected requests of one address",
	}[limit]
}

// natWords describes this machine's NAT and its effect.
func natWords(kind string) string {
	switch kind {
	case "open":
		return "Open: peers reach this machine directly"
	case "consistent":
		return "Consistent ports: hole punching works with almost all NATs"
	case "random":
		return "Random ports: hole punching takes longer, and a relay is needed if the peer has random ports too"
	default:
		return "Not known yet"
	}
}

// span formats a duration for display, with at most two units.
func span(d time.Duration) string {
	if d < 0 {
		d = -d
	}
	switch {
	case d < time.Millisecond:
		return "under 1 ms"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	}
	units := []struct {
		size time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}}
	for i, u := range units {
		if n := d / u.size; n > 0 {
			text := fmt.Sprintf("%d %s", n, u.name)
			if i+1 < len(units) {
				if rest := (d % u.size) / units[i+1].size; rest > 0 {
					text += fmt.Sprintf(" %d %s", rest, units[i+1].name)
				}
			}
			return text
		}
	}
	return ""
}

// size formats a number of bytes for display.
func size(n int) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1000_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1000)
	default:
		return fmt.Sprintf("%.1f MB", float64(n)/1000_000)
	}
}

// moment is a time on the page, relative to now and exact.
type moment struct {
	Zero  bool
	Words string
	Exact string // for display
	ISO   string
}

func momentAt(t, now time.Time) moment {
	if t.IsZero() {
		return moment{Zero: true}
	}
	m := moment{Exact: t.UTC().Format("2006-01-02 15:04:05 UTC"), ISO: t.UTC().Format(time.RFC3339)}
	switch d := now.Sub(t); {
	case d < -time.Second:
		m.Words = "in " + span(-d)
	case d < time.Second:
		m.Words = "now"
	default:
		m.Words = span(d.Truncate(time.Second)) + " ago"
		if d < 10*time.Second {
			m.Words = fmt.Sprintf("%d s ago", int(d.Seconds()))
		}
	}
	return m
}
