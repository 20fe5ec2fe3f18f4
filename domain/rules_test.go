package domain_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/cost"
)

// Issue row 6.13: names are not limited in the JavaScript packages.
func TestNamesAreBoundedAndLeaveTheirSurroundingsAlone(t *testing.T) {
	for _, c := range []struct {
		name, text string
		ok         bool
	}{
		{"plain", "web-1", true},
		{"with colon and slash", "host:9100/metrics?x=1&y=%20#z", true},
		{"a space inside", "my machine", true},
		{"other scripts", "müller-電子", true},
		{"an emoji with a joiner", "👩\u200d💻", true},
		{"a flag made of tags", "\U0001F3F4\U000E0067\U000E0062\U000E0065\U000E006E\U000E0067\U000E007F", true},
		{"a no-break space", "my\u00a0machine", true},
		{"a character of a newer Unicode", "\U0001FAEF", true},
		{"private use", "\ue0b0", true},
		{"a right-to-left mark", "a\u200fb", true},
		{"C1 control", "a\u009b31mb", false},
		{"next line", "a\u0085b", false},
		{"delete", "a\u007fb", false},
		{"paragraph separator", "a\u2029b", false},
		{"isolate", "a\u2066b", false},
		{"embedding", "a\u202ab", false},
		{"the longest", strings.Repeat("a", domain.MaxAlias), true},
		{"empty", "", false},
		{"a byte too long", strings.Repeat("a", domain.MaxAlias+1), false},
		{"a megabyte", strings.Repeat("a", 1<<20), false},
		{"newline", "a\nb", false},
		{"tab", "a\tb", false},
		{"nul", "a\x00b", false},
		{"escape", "a\x1b[31mb", false},
		{"not UTF-8", "a\xffb", false},
		{"right-to-left override", "a\u202eb", false},
		{"line separator", "a\u2028b", false},
	} {
		_, err := domain.ParseAlias(c.text)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil && (!errors.Is(err, domain.ErrName) || len(err.Error()) > 130 || strings.ContainsAny(err.Error(), "\n\x1b")) {
			t.Errorf("%s: error %q", c.name, err)
		}
	}
	if domain.CheckHostname("") != nil || domain.CheckService("") != nil {
		t.Error("an empty hostname or service, which JavaScript clients may send, was refused")
	}
	if domain.CheckHostname(strings.Repeat("h", domain.MaxHostname)) != nil || domain.CheckHostname(strings.Repeat("h", domain.MaxHostname+1)) == nil ||
		domain.CheckService(strings.Repeat("s", domain.MaxService+1)) == nil || domain.CheckService("a\nb") == nil {
		t.Error("the bounds of hostname and service are off")
	}
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func reg(alias string, key byte, hostname, service string) domain.Register {
	return domain.Register{Alias: domain.Alias(alias), Key: domain.PublicKey{key}, Hostname: hostname, Service: service}
}

// Issue row 6.7: hostname and service are not updated in the JavaScript packages when the key is unchanged.
func TestUpdatedIsTrueWhenAnythingButTheTimesChanged(t *testing.T) {
	first := reg("a", 1, "h", "s").Entry(domain.Entry{}, noon, time.Hour)
	if c := first.ChangeFrom(domain.Entry{}); !c.Updated || !c.TakenFrom.IsZero() {
		t.Errorf("a new alias: %+v", c)
	}
	later := noon.Add(time.Minute)
	for _, c := range []struct {
		name    string
		reg     domain.Register
		updated bool
		taken   domain.PublicKey
		since   time.Time
	}{
		{"renewed", reg("a", 1, "h", "s"), false, domain.PublicKey{}, noon},
		{"other hostname", reg("a", 1, "h2", "s"), true, domain.PublicKey{}, noon},
		{"other service", reg("a", 1, "h", "s2"), true, domain.PublicKey{}, noon},
		{"other key", reg("a", 2, "h", "s"), true, domain.PublicKey{1}, later},
	} {
		e := c.reg.Entry(first, later, time.Hour)
		change := e.ChangeFrom(first)
		if change.Updated != c.updated || change.TakenFrom != c.taken {
			t.Errorf("%s: %+v", c.name, change)
		}
		if !e.Registered.Equal(c.since) || !e.Renewed.Equal(later) || !e.Expires.Equal(later.Add(time.Hour)) {
			t.Errorf("%s: times %v %v %v", c.name, e.Registered, e.Renewed, e.Expires)
		}
		if e.Hostname != c.reg.Hostname || e.Service != c.reg.Service || e.Key != c.reg.Key {
			t.Errorf("%s: the last one did not win: %+v", c.name, e)
		}
	}
}

func TestEntryExpiresAtItsTimeAndNotBefore(t *testing.T) {
	e := domain.Entry{Expires: noon}
	if e.Expired(noon.Add(-1)) || !e.Expired(noon) || !e.Expired(noon.Add(1)) {
		t.Error("the boundary is off")
	}
}

func TestTableCountsAliasesPerKey(t *testing.T) {
	table := domain.NewTable(3)
	put := func(alias string, key byte) error {
		return table.Put(reg(alias, key, "", "").Entry(domain.Entry{}, noon, time.Hour))
	}
	for _, step := range []error{put("b", 1), put("a", 1), put("c", 2)} {
		if step != nil {
			t.Fatal(step)
		}
	}
	if err := put("d", 3); !errors.Is(err, domain.ErrTableFull) {
		t.Errorf("a fourth alias of three: %v", err)
	}
	if err := put("c", 3); err != nil {
		t.Errorf("a full table refused to change an alias: %v", err)
	}
	if table.Serves(domain.PublicKey{2}) || !table.Serves(domain.PublicKey{3}) || table.Keys() != 2 || table.Len() != 3 {
		t.Error("the taken-over key is still served")
	}
	table.Delete("a")
	if !table.Serves(domain.PublicKey{1}) {
		t.Error("a key lost its second alias with its first")
	}
	if !table.Delete("b") || table.Delete("b") || table.Serves(domain.PublicKey{1}) {
		t.Error("a key without aliases is still served")
	}
}

func TestTableListsByAliasAndFindsTheExpired(t *testing.T) {
	table := domain.NewTable(0)
	for i, a := range []string{"c", "a", "b"} {
		e := reg(a, byte(i), "", "").Entry(domain.Entry{}, noon, time.Duration(i+1)*time.Hour)
		if err := table.Put(e); err != nil {
			t.Fatal(err)
		}
	}
	names := func(entries []domain.Entry) (all []string) {
		for _, e := range entries {
			all = append(all, string(e.Alias))
		}
		return all
	}
	if got := names(table.Entries()); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("entries %v", got)
	}
	if got := names(table.ExpiredAt(noon.Add(2 * time.Hour))); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("expired %v", got)
	}
}

// Lists are right whatever has changed since the last one, and listed in parts as at once.
func TestTableListsWhatCameAndWent(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		table, model := domain.NewTable(0), map[domain.Alias]bool{}
		for range 400 {
			a := domain.Alias(fmt.Sprint(rng.IntN(60)))
			switch rng.IntN(8) {
			case 0, 1, 2:
				if err := table.Put(reg(string(a), 1, "", "").Entry(domain.Entry{}, noon, time.Hour)); err != nil {
					t.Fatal(err)
				}
				model[a] = true
			case 3, 4:
				if table.Delete(a) != model[a] {
					t.Fatalf("Delete(%s) does not report whether it existed", a)
				}
				delete(model, a)
			case 5:
				want := slices.Sorted(maps.Keys(model))
				at, found := slices.BinarySearch(want, a)
				if found {
					at++
				}
				if got := aliases(table.After(a, 10)); !slices.Equal(got, want[at:min(at+10, len(want))]) {
					t.Fatalf("seed %d: after %s: %v of %v", seed, a, got, want)
				}
			case 6:
				if got := aliases(table.Entries()); !slices.Equal(got, slices.Sorted(maps.Keys(model))) {
					t.Fatalf("seed %d: %v instead of %v", seed, got, model)
				}
			}
		}
	}
}

func aliases(entries []domain.Entry) (all []domain.Alias) {
	for _, e := range entries {
		all = append(all, e.Alias)
	}
	return all
}

func TestEntriesFromOutsideAreChecked(t *testing.T) {
	good := reg("a", 1, "h", "s").Entry(domain.Entry{}, noon, time.Hour)
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*domain.Entry){
		"alias":    func(e *domain.Entry) { e.Alias = "\n" },
		"hostname": func(e *domain.Entry) { e.Hostname = "\n" },
		"service":  func(e *domain.Entry) { e.Service = "\n" },
		"key":      func(e *domain.Entry) { e.Key = domain.PublicKey{} },
	} {
		e := good
		spoil(&e)
		if e.Check() == nil {
			t.Errorf("a bad %s passed", name)
		}
	}
}

func TestBackoffDoublesFromASecondToAMinuteWithJitter(t *testing.T) {
	var low, high domain.Backoff
	for i, step := range []int{1, 2, 4, 8, 16, 32, 60, 60, 60} {
		want := time.Duration(step) * time.Second
		if got := high.Next(uint64(want - max(want/2, time.Second))); got != want {
			t.Errorf("wait %d at most %s, want %s", i, got, want)
		}
		if got := low.Next(0); got != max(want/2, time.Second) {
			t.Errorf("wait %d at least %s", i, got)
		}
	}
	for i := range 1000 {
		if got := low.Next(uint64(i) * 0x9e3779b97f4a7c15); got < 30*time.Second || got > time.Minute {
			t.Fatalf("a wait of %s", got)
		}
	}
	low.Reset()
	if got := low.Next(12345); got != time.Second {
		t.Errorf("after a reset %s", got)
	}
}

func TestBodyPastTheFrameIsReportedWithItsSize(t *testing.T) {
	err := &domain.BodyTooLargeError{Size: domain.MaxBody + 1, Max: domain.MaxBody}
	if !strings.Contains(err.Error(), fmt.Sprint(domain.MaxBody+1)) {
		t.Errorf("error %v", err)
	}
	if domain.MaxBody >= 1<<24-1-17 || domain.MaxBody < 15<<20 {
		t.Errorf("MaxBody is %d", domain.MaxBody)
	}
}

func TestFailuresHaveReasons(t *testing.T) {
	for want, err := range map[string]error{
		domain.ReasonRemote:       fmt.Errorf("x: %w", &domain.RemoteError{Message: "m"}),
		domain.ReasonTimeout:      &domain.TimeoutError{Waiting: "w", After: 1},
		domain.ReasonNotConnected: fmt.Errorf("%w: %w", domain.ErrNotConnected, &domain.TimeoutError{}),
		domain.ReasonUnknownAlias: domain.ErrUnknownAlias,
		domain.ReasonClosed:       domain.ErrClosed,
		domain.ReasonStarting:     domain.ErrNotLoaded,
		domain.ReasonConnection:   errors.New("anything else"),
		domain.ReasonExporter:     &domain.ScrapeError{Fault: domain.FaultExporter},
		domain.ReasonClient:       fmt.Errorf("x: %w", &domain.ScrapeError{Fault: domain.FaultClient}),
		domain.ReasonRequest:      &domain.ScrapeError{Fault: domain.FaultRequest},
	} {
		if got := domain.FailureReason(err); got != want || !slices.Contains(domain.FailureReasons(), got) {
			t.Errorf("%v: reason %s, want %s", err, got, want)
		}
	}
}

func TestTimeAndStatusAreFailuresWithAReason(t *testing.T) {
	late := &domain.ScrapeError{Fault: domain.FaultTime, Reason: "r"}
	if got := domain.FailureReason(late); got != domain.ReasonTimeout || !errors.Is(late, domain.ErrTimeout) {
		t.Errorf("reason %s", got)
	}
	if errors.Is(&domain.ScrapeError{Fault: domain.FaultExporter}, domain.ErrTimeout) {
		t.Error("each failure is a timeout")
	}
	if got := domain.FailureReason(&domain.StatusError{Status: 503}); got != domain.ReasonExporter {
		t.Errorf("reason %s", got)
	}
}

func FuzzParseAlias(f *testing.F) {
	f.Add("web-1")
	f.Add("m\u00fcller/\x00")
	f.Fuzz(func(t *testing.T, text string) {
		var alias domain.Alias
		var err error
		cost.Parsing.Check(t, len(text), func() { alias, err = domain.ParseAlias(text) })
		if err == nil && (string(alias) != text || len(alias) > domain.MaxAlias) || err != nil && !errors.Is(err, domain.ErrName) {
			t.Errorf("%q is read as %q, %v", text, alias, err)
		}
	})
}
