package domain_test

import (
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/domain"
)

func TestEveryEventHasTheFactsOfItsTwin(t *testing.T) {
	peer := domain.Peer{Key: domain.PublicKey{7}, Addr: netip.MustParseAddrPort("192.0.2.1:5444")}
	r := domain.Register{Alias: "a", Key: domain.PublicKey{8}, Hostname: "h", Service: "s"}
	err := errors.New("boom")
	for _, c := range []struct {
		event domain.Event
		name  string
		keys  string
	}{
		{domain.ConnectionOpen{Side: domain.SideScrape, Peer: peer}, "connection-open", "uid remote_key remote_address"},
		{domain.ConnectionClose{Peer: peer}, "connection-close", "uid remote_key remote_address"},
		{domain.ConnectionError{Peer: peer, Err: err}, "connection-error", "uid remote_key remote_address err"},
		{domain.ConnectionIgnore{Peer: peer}, "connection-ignore", "uid remote_key remote_address"},
		{domain.FirewallBlock{Addr: peer.Addr}, "firewall-block", "remote_key remote_address"},
		{domain.AliasAttempt{Register: r}, "alias-attempt", "uid alias target_key hostname service"},
		{domain.RegisterAliasSuccess{}, "register-alias-success", "updated"},
		{domain.RegisterAliasError{Err: err}, "register-alias-error", "err"},
		{domain.MetricsRequest{Peer: peer}, "metrics-request", "uid remote_key"},
		{domain.MetricsSuccess{Peer: peer}, "metrics-success", "uid remote_key"},
		{domain.MetricsError{Peer: peer, Err: err}, "metrics-error", "uid remote_key err"},
		{domain.AliasRequest{Peer: peer, Register: r}, "alias-request", "uid remote_key target_key alias hostname service"},
		{domain.AliasSuccess{Peer: peer, Register: r}, "alias-success", "uid alias remote_key target_key updated"},
		{domain.AliasUnauthorised{Peer: peer, Register: r}, "alias-unauthorised", "uid remote_key target_key alias remote_address"},
		{domain.AliasError{Peer: peer, Err: err}, "alias-error", "uid remote_key err"},
		{domain.SetAlias{}, "set-alias", "alias target_key"},
		{domain.AliasExpired{}, "alias-expired", "alias target_key"},
		{domain.LoadAliases{Skipped: []error{err}}, "load-aliases", "entries skipped err"},
		{domain.LoadAliasesError{Err: err}, "load-aliases-error", "err"},
		{domain.AliasesUpdated{}, "aliases-updated", "entries"},
		{domain.WriteAliasesError{Err: err}, "write-aliases-error", "what err"},
		{domain.UpstreamError{Err: err}, "upstream-error", "uid alias remote_key err"},
		{domain.SessionWait{Err: err}, "session-wait", "remote_key err retry_in"},
	} {
		r := c.event.LogRecord()
		if r.Name != c.name {
			t.Errorf("%T is called %s, want %s", c.event, r.Name, c.name)
		}
		have := map[string]bool{}
		for _, a := range r.Attrs {
			have[a.Key] = true
		}
		for _, k := range strings.Fields(c.keys) {
			if !have[k] {
				t.Errorf("%s does not say %s", c.name, k)
			}
		}
	}
}

func TestRefusedNamesAreCutInLogs(t *testing.T) {
	r := domain.Register{Alias: domain.Alias(strings.Repeat("x", 1<<20))}
	for _, e := range []domain.Event{domain.AliasUnauthorised{Register: r}, domain.AliasError{Alias: r.Alias, Err: errors.New("x")}} {
		r := e.LogRecord()
		for _, a := range r.Attrs {
			if len(a.Value.String()) > 300 {
				t.Errorf("%s logs %d bytes as %s", r.Name, len(a.Value.String()), a.Key)
			}
		}
	}
}

func TestFailuresThatNeedAttentionAreWarnings(t *testing.T) {
	for _, e := range []domain.Event{domain.RegisterAliasError{}, domain.MetricsError{}, domain.AliasError{}, domain.UpstreamError{}, domain.IdentityShared{}} {
		if r := e.LogRecord(); r.Level != slog.LevelWarn {
			t.Errorf("%s is at level %s", r.Name, r.Level)
		}
	}
}

func TestErrorsOfPeersNameTheRightPeer(t *testing.T) {
	for want, err := range map[string]error{
		"scraper reported: Unauthorised":        &domain.RemoteError{Message: "Unauthorised", Scraper: true},
		"scraper reported: alias table is full": &domain.RemoteError{Message: "alias table is full", Scraper: true},
		"client reported: Unauthorised":         &domain.RemoteError{Message: "Unauthorised"},
	} {
		if got := err.Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestDurationsInLogLinesAreReadable(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"1.01s": 1009882029, "45.7s": 45678901234, "12.3ms": 12345678, "1m0s": 59999999999, "0s": 0, "999ns": 999, "7.5s": 7500 * time.Millisecond,
	} {
		attrs := domain.RegisterAliasError{RetryIn: d}.LogRecord().Attrs
		if last := attrs[len(attrs)-1]; last.Key != "retry_in" || last.Value.String() != want {
			t.Errorf("%s is logged as %s, want %s", d, last, want)
		}
	}
}

// attr returns the text of an attribute of an event's log line, or "" if it has none.
func attr(e domain.Event, key string) string {
	for _, a := range e.LogRecord().Attrs {
		if a.Key == key {
			return a.Value.String()
		}
	}
	return ""
}

func TestLostNetworkSaysWhatToDo(t *testing.T) {
	own := netip.MustParseAddrPort("192.0.2.1:49737")
	for want, e := range map[string]domain.NetworkLost{
		"check that UDP is let out": {BootstrapNodes: 2},
		"no IPv4 address":           {NoIPv4: true, Own: []netip.AddrPort{own}},
		own.String():                {Own: []netip.AddrPort{own}},
	} {
		if got := attr(e, "hint"); !strings.Contains(got, want) {
			t.Errorf("%+v: %s", e, got)
		}
	}
	for want, n := range map[string]int{"1 bootstrap node tried": 1, "2 bootstrap nodes tried": 2, "0 bootstrap nodes tried": 0} {
		if got := attr(domain.NetworkLost{BootstrapNodes: n}, "err"); !strings.Contains(got, want) {
			t.Errorf("%d: %s", n, got)
		}
	}
}

func TestLoadedTableSaysWhatWasSkippedIfAnythingWas(t *testing.T) {
	said := func(e domain.Event) (all []string) {
		for _, a := range e.LogRecord().Attrs {
			all = append(all, a.String())
		}
		return all
	}
	if got := said(domain.LoadAliases{Entries: 3}); !slices.Equal(got, []string{"entries=3"}) {
		t.Errorf("nothing was skipped: %v", got)
	}
	if got := said(domain.ImportAliases{Entries: 3, Skipped: []error{errors.New("one"), errors.New("two")}}); !slices.Equal(got, []string{"entries=3", "skipped=2", "err=one"}) {
		t.Errorf("two were skipped: %v", got)
	}
}
