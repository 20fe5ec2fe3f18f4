package domain_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/domain"
)

// A class of events has one level in the log, or several where the values of an event decide.
type class struct {
	name   string
	levels []slog.Level
}

var (
	// An operator must act, or data is missing.
	act = class{"act", []slog.Level{slog.LevelWarn}}
	// The program cannot keep its data.
	broken = class{"broken", []slog.Level{slog.LevelError}}
	// A connection with a peer that has a secret or an admitted key began or ended.
	connected = class{"connected", []slog.Level{slog.LevelInfo}}
	// The state has changed as it should.
	changed = class{"changed", []slog.Level{slog.LevelInfo}}
	// Likewise, or with a part that failed, which is a warning.
	partly = class{"partly", []slog.Level{slog.LevelInfo, slog.LevelWarn}}
	// A step towards another event, or one of each scrape.
	routine = class{"routine", []slog.Level{slog.LevelDebug}}
	// Peers without a secret cause it, at any rate. Such an event has a counter.
	stranger = class{"stranger", []slog.Level{slog.LevelDebug}}
)

// classes has a line for each event, and the metric that counts those of strangers.
var classes = map[string]struct {
	class   class
	counter string
}{
	"ConnectionOpen":       {connected, ""},
	"ConnectionClose":      {connected, ""},
	"ConnectionError":      {connected, ""},
	"ConnectionIgnore":     {routine, ""},
	"FirewallBlock":        {stranger, "firewall_blocks_total"},
	"AliasAttempt":         {routine, ""},
	"RegisterAliasSuccess": {partly, ""},
	"SetUnsupported":       {partly, ""},
	"RegisterAliasError":   {act, ""},
	"LeaveAliasError":      {act, ""},
	"MetricsRequest":       {routine, ""},
	"MetricsSuccess":       {routine, ""},
	"MetricsError":         {act, ""},
	"AliasRequest":         {routine, ""},
	"AliasSuccess":         {changed, ""},
	"AliasUnauthorised":    {stranger, "registrations_rejected_total"},
	"AliasError":           {act, ""},
	"SetTargets":           {partly, ""},
	"SetExpired":           {changed, ""},
	"IdentityShared":       {act, ""},
	"SetAlias":             {routine, ""},
	"AliasExpired":         {changed, ""},
	"AliasForgotten":       {changed, ""},
	"AliasPinned":          {changed, ""},
	"AliasUnpinned":        {changed, ""},
	"GroupLead":            {changed, ""},
	"GroupFollow":          {changed, ""},
	"GroupLeader":          {partly, ""},
	"GroupMember":          {changed, ""},
	"GroupListenError":     {broken, ""},
	"GroupStore":           {partly, ""},
	"ImportAliases":        {partly, ""},
	"ImportAliasesError":   {act, ""},
	"IdentityAdded":        {changed, ""},
	"IdentityRevoked":      {changed, ""},
	"SecretsChanged":       {changed, ""},
	"LoadAliases":          {partly, ""},
	"LoadAliasesError":     {broken, ""},
	"AliasesUpdated":       {changed, ""},
	"WriteAliasesError":    {broken, ""},
	"StoreDamaged":         {broken, ""},
	"UpstreamError":        {act, ""},
	"NetworkLost":          {act, ""},
	"NetworkFound":         {changed, ""},
	"SessionWait":          {routine, ""},
}

func TestEachEventHasTheLevelOfItsClass(t *testing.T) {
	metrics := ""
	for _, file := range []string{"../adapters/web/metrics.go", "../client/metrics.go"} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		metrics += string(source)
	}
	seen := map[string]map[slog.Level]bool{}
	for _, e := range everyEvent() {
		name := reflect.TypeOf(e).Name()
		if seen[name] == nil {
			seen[name] = map[slog.Level]bool{}
		}
		want, r := classes[name].class, e.LogRecord()
		if onRegistrations(e) { // strangers may connect there
			want = stranger
		} else {
			seen[name][r.Level] = true
		}
		fits := false
		for _, level := range want.levels {
			fits = fits || level == r.Level
		}
		if !fits {
			t.Errorf("%s is %s, want a level of the class %q", name, r.Level, want.name)
		}
	}
	for name, c := range classes {
		if seen[name] == nil {
			t.Errorf("%s is no event", name)
		}
		if len(seen[name]) != len(c.class.levels) {
			t.Errorf("%s has %d levels, want %d", name, len(seen[name]), len(c.class.levels))
		}
		if (c.class.name == "stranger") != (c.counter != "") || !strings.Contains(metrics, c.counter) {
			t.Errorf("%s, of the class %q, has the counter %q", name, c.class.name, c.counter)
		}
	}
}

// onRegistrations reports whether an event is of a connection to the registration service.
func onRegistrations(e domain.Event) bool {
	switch e := e.(type) {
	case domain.ConnectionOpen:
		return e.Side == domain.SideRegister
	case domain.ConnectionClose:
		return e.Side == domain.SideRegister
	case domain.ConnectionError:
		return e.Side == domain.SideRegister
	}
	return false
}

// JSON has all attributes, and their values are those of the text: errors with their message, durations with their unit.
func TestLinesInJSONAreComplete(t *testing.T) {
	for _, e := range everyEvent() {
		r := e.LogRecord()
		var out bytes.Buffer
		slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})).LogAttrs(t.Context(), r.Level, r.Name, r.Attrs...)
		var line map[string]any
		if err := json.Unmarshal(out.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		if len(line) != len(r.Attrs)+3 { // time, level, msg
			t.Errorf("%s has %d attributes, and its line %s", r.Name, len(r.Attrs), &out)
		}
		for _, a := range r.Attrs {
			value, ok := line[a.Key]
			switch a.Value.Kind() {
			case slog.KindDuration:
				t.Errorf("%s has the duration %s without a unit", r.Name, a.Key)
			case slog.KindString:
				ok = ok && value == a.Value.String()
			case slog.KindAny:
				err, is := a.Value.Any().(error)
				ok = ok && (!is && a.Value.Any() == nil || is && value == err.Error())
			}
			if !ok {
				t.Errorf("%s: %s is %v in %s", r.Name, a.Key, value, &out)
			}
		}
	}
}
