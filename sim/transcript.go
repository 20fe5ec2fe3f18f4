package sim

import (
	"fmt"
	"hash/fnv"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// transcript is what happened in a world, for people: one line for each event of a client or scraper, and the
// scenario's own words between.
type transcript struct {
	w     *World
	text  strings.Builder
	hash  uint64
	lines int
	uids  map[string]int // in the order in which they were first told
	echo  func(line string)
}

// say adds the scenario's words.
func (t *transcript) say(format string, args ...any) {
	t.line(fmt.Sprintf(format, args...))
}

// tell adds a line about somebody.
func (t *transcript) tell(who, format string, args ...any) {
	t.line(fmt.Sprintf("%-10s  %s", who, fmt.Sprintf(format, args...)))
}

func (t *transcript) line(text string) {
	line := stamp(t.w.net.Now()) + "  " + text + "\n"
	h := fnv.New64a()
	_, _ = h.Write([]byte(line))
	t.hash = t.hash*1099511628211 ^ h.Sum64()
	t.lines++
	if t.text.Len() < maxTranscript {
		t.text.WriteString(line)
	}
	if t.echo != nil {
		t.echo(line)
	}
}

// stamp is the time as it stands before each line: 1:02:03.456.
func stamp(at time.Duration) string {
	ms := at.Milliseconds()
	return fmt.Sprintf("%d:%02d:%02d.%03d", ms/3_600_000, ms/60_000%60, ms/1000%60, ms%1000)
}

// routine events fill the transcripts of large worlds without telling anything.
var routine = []string{domain.MetricsRequest{}.LogRecord().Name, domain.MetricsSuccess{}.LogRecord().Name, domain.ConnectionIgnore{}.LogRecord().Name}

// event adds an event of a client or scraper.
func (t *transcript) event(who string, e domain.Event) {
	r := e.LogRecord()
	if t.w.scenario.Coarse && slices.Contains(routine, r.Name) {
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-22s", r.Name)
	for _, a := range r.Attrs {
		if text := t.value(a); text != "" {
			fmt.Fprintf(&b, " %s=%s", a.Key, text)
		}
	}
	t.tell(who, "%s", b.String())
}

// value prints a fact: keys as names, uids as small numbers.
func (t *transcript) value(a slog.Attr) string {
	text := a.Value.String()
	switch a.Key {
	case "uid":
		return t.uid(text)
	case "remote_key", "target_key", "taken_from", "scraper":
		if key, err := domain.ParsePublicKey(text); err == nil {
			return t.w.nameOf(key)
		}
	case "expires":
		return a.Value.Time().UTC().Format("15:04:05")
	}
	if a.Value.Kind() == slog.KindDuration {
		return a.Value.Duration().Round(time.Millisecond).String()
	}
	if strings.ContainsAny(text, " \"=\n") {
		return strconv.Quote(text)
	}
	return text
}

func (t *transcript) uid(text string) string {
	if text == (domain.UID{}).String() {
		return ""
	}
	n, known := t.uids[text]
	if !known {
		n = len(t.uids) + 1
		t.uids[text] = n
	}
	return "#" + strconv.Itoa(n)
}

// nameOf is whose key that is, or the beginning of the key of nobody known.
func (w *World) nameOf(key domain.PublicKey) string {
	if name, ok := w.names[id.PublicKey(key)]; ok {
		return name
	}
	return key.Short()
}
