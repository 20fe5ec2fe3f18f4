package domain_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/golden"
)

// everyEvent returns a value of each event, and more than one of those whose attributes or level depend on it.
func everyEvent() []domain.Event {
	uid := domain.UIDFrom([16]byte{1, 2, 3})
	addr := netip.MustParseAddrPort("192.0.2.1:5444")
	peer := domain.Peer{Key: domain.PublicKey{7}, Addr: addr}
	r := domain.Register{Alias: "a client", Key: domain.PublicKey{8}, Hostname: "h=\"1\"", Service: "s"}
	long := domain.Register{Alias: domain.Alias(strings.Repeat("x", 1000)), Key: domain.PublicKey{9}}
	entry := domain.Entry{Alias: "a", Key: domain.PublicKey{10}, Hostname: "h", Service: "s", Expires: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)}
	pin := domain.Pin{Alias: "a", Key: domain.PublicKey{11}}
	err, took := errors.New("boom\nand more"), 1234567*time.Microsecond
	skipped := []error{errors.New("one"), errors.New("two")}
	damage := domain.StoreDamage{Recovered: 3, Kept: "file.damaged", Problems: []string{"first", "second"}}
	return []domain.Event{
		domain.ConnectionOpen{UID: uid, Side: domain.SideScrape, Peer: peer},
		domain.ConnectionOpen{},
		domain.ConnectionClose{UID: uid, Side: domain.SideMetrics, Peer: peer},
		domain.ConnectionError{UID: uid, Side: domain.SideRegister, Peer: peer, Err: err},
		domain.ConnectionIgnore{UID: uid, Peer: peer},
		domain.FirewallBlock{RemoteKey: peer.Key, Addr: addr},
		domain.FirewallBlock{},
		domain.AliasAttempt{UID: uid, Scraper: peer.Key, Register: r},
		domain.RegisterAliasSuccess{UID: uid, Scraper: peer.Key, Alias: "a", Updated: true},
		domain.RegisterAliasError{UID: uid, Scraper: peer.Key, Alias: "a", Err: err, ConnectionFailed: true, RetryIn: took},
		domain.RegisterAliasError{},
		domain.LeaveAliasError{Scraper: peer.Key, Alias: "a", Err: err},
		domain.MetricsRequest{UID: uid, Peer: peer},
		domain.MetricsSuccess{UID: uid, Peer: peer, Bytes: 12, Took: took},
		domain.MetricsError{UID: uid, Peer: peer, Err: err},
		domain.AliasRequest{UID: uid, Peer: peer, Register: r},
		domain.AliasSuccess{UID: uid, Peer: peer, Register: r, Updated: true, TakenFrom: domain.PublicKey{12}},
		domain.AliasSuccess{UID: uid, Peer: peer, Register: r},
		domain.AliasUnauthorised{UID: uid, Peer: peer, Register: long},
		domain.AliasError{UID: uid, Peer: peer, Alias: long.Alias, Err: err},
		domain.IdentityShared{Alias: "a", Key: peer.Key},
		domain.SetAlias{Entry: entry},
		domain.AliasExpired{Entry: entry},
		domain.AliasForgotten{Entry: entry},
		domain.AliasPinned{Pin: pin},
		domain.AliasUnpinned{Pin: pin},
		domain.ImportAliases{Entries: 3, Skipped: skipped},
		domain.ImportAliases{Entries: 3},
		domain.ImportAliasesError{Err: err},
		domain.SecretsChanged{Fingerprints: []string{"01234567", "89abcdef"}},
		domain.LoadAliases{Entries: 3, Skipped: skipped},
		domain.LoadAliases{Entries: 3},
		domain.LoadAliasesError{Err: err},
		domain.AliasesUpdated{Entries: 3},
		domain.WriteAliasesError{What: "store", Err: err},
		domain.StoreDamaged{Damage: damage},
		domain.UpstreamError{UID: uid, Alias: "a", Key: peer.Key, Err: err},
		domain.NetworkLost{BootstrapNodes: 2},
		domain.NetworkLost{BootstrapNodes: 1, Own: []netip.AddrPort{addr}},
		domain.NetworkLost{NoIPv4: true},
		domain.NetworkFound{Nodes: 3},
		domain.SessionWait{Key: peer.Key, Err: err, RetryIn: took},
	}
}

// The log lines are part of the interface: people search them and alert on them.
func TestLogLinesOfEveryEvent(t *testing.T) {
	var out bytes.Buffer
	options := &slog.HandlerOptions{Level: slog.LevelDebug}
	for _, e := range everyEvent() {
		fmt.Fprintf(&out, "%T\n", e)
		for _, h := range []slog.Handler{slog.NewTextHandler(&out, options), slog.NewJSONHandler(&out, options)} {
			r := slog.NewRecord(time.Time{}, e.Level(), e.Name(), 0)
			r.AddAttrs(e.Attrs()...)
			if err := h.Handle(context.Background(), r); err != nil {
				t.Fatal(err)
			}
		}
		for _, a := range e.Attrs() {
			fmt.Fprintf(&out, "%s=%q\n", a.Key, a.Value.String())
		}
		fmt.Fprintln(&out)
	}
	golden.File(t, "testdata/events.txt", out.String())
}
