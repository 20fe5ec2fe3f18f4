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

// transcript is the readable log of a world: one line for each event of a client or scraper, and the scenario's own lines
// between.
type transcript struct {
	w     *World
	text  strings.Builder
	hash  uint64
	lines int
	uids  map[string]int // in the order of first mention
	echo  func(line string)
}

// say adds a line of the scenario.
func (t *transcript) say(format string, args ...any) {
	t.line(fmt.Sprintf(format, args...))
}

// tell adds a line about a machine.
func (t *transcript) tell(name, format string, args ...any) {
	t.line(fmt.Sprintf("%-10s  %s", name, fmt.Sprintf(format, args...)))
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

// stamp returns the time as it appears before each line: 1:02:03.456.
func stamp(at time.Duration) string {
	ms := at.Milliseconds()
	return fmt.Sprintf("%d:%02d:%02d.%03d", ms/3_600_000, ms/60_000%60, ms/1000%60, ms%1000)
}

// routine lists events that fill the transcripts of large worlds without information.
var routine = []string{domain.MetricsRequest{}.LogRecord().Name, domain.MetricsSuccess{}.LogRecord().Name, domain.ConnectionIgnore{}.LogRecord().Name}

// event adds an event of a client or scraper.
func (t *transcript) event(name string, e domain.Event) {
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
	t.tell(name, "%s", b.String())
}

// value formats an attribute: keys as names, uids as small numbers.
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

// nameOf returns the name of a key's owner, or the beginning of an unknown key.
func (w *World) nameOf(key domain.PublicKey) string {
	if name, ok := w.names.byKey[id.PublicKey(key)]; ok {
		return name
	}
	return key.Short()
}
