package domain_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"net/netip"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
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
		domain.ConnectionOpen{UID: uid, Side: domain.SideRegister, Peer: peer},
		domain.ConnectionClose{UID: uid, Side: domain.SideRegister, Peer: peer},
		domain.ConnectionError{UID: uid, Side: domain.SideRegister, Peer: peer, Err: err},
		domain.ConnectionError{UID: uid, Side: domain.SideScrape, Peer: peer, Err: err},
		domain.ConnectionIgnore{UID: uid, Peer: peer},
		domain.FirewallBlock{RemoteKey: peer.Key, Addr: addr},
		domain.FirewallBlock{},
		domain.AliasAttempt{UID: uid, Scraper: peer.Key, Register: r},
		domain.AliasAttempt{UID: uid, Scraper: peer.Key, Register: domain.Register{Key: r.Key}, Targets: 5},
		domain.RegisterAliasSuccess{UID: uid, Scraper: peer.Key, Alias: "a", Updated: true},
		domain.RegisterAliasSuccess{UID: uid, Scraper: peer.Key, Targets: 5, Rejected: []domain.RejectedTarget{{Alias: "b", Reason: domain.ReasonPinned}}},
		domain.SetUnsupported{Scraper: peer.Key, Targets: 5, Served: 5},
		domain.SetUnsupported{Scraper: peer.Key, Targets: 500, Served: 256},
		domain.SetTargets{UID: uid, Peer: peer, Key: r.Key, Targets: 5, Updated: true, Added: 1, Changed: 2, Removed: 3},
		domain.SetTargets{UID: uid, Peer: peer, Key: r.Key, Targets: 5, PinsMoved: 1, TakenFrom: 2, Rejected: 3, FirstRejected: domain.RejectedTarget{Alias: long.Alias, Reason: domain.ReasonBadName}},
		domain.SetExpired{Key: r.Key, Targets: 5},
		domain.RegisterAliasError{UID: uid, Scraper: peer.Key, Alias: "a", Err: err, ConnectionFailed: true, RetryIn: took},
		domain.RegisterAliasError{UID: uid, Scraper: peer.Key, Err: &domain.RemoteError{Scraper: true, Message: domain.Unauthorised}, RetryIn: took},
		domain.RegisterAliasError{},
		domain.LeaveAliasError{Scraper: peer.Key, Alias: "a", Err: err},
		domain.MetricsRequest{UID: uid, Peer: peer},
		domain.MetricsSuccess{UID: uid, Peer: peer, Bytes: 12, Took: took},
		domain.MetricsError{UID: uid, Peer: peer, Err: err},
		domain.MetricsError{UID: uid, Peer: peer, Target: "a", Err: err},
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
		domain.GroupLead{Term: 7},
		domain.GroupFollow{Term: 7},
		domain.GroupLeader{Name: "b", Term: 8},
		domain.GroupLeader{},
		domain.GroupMember{Member: domain.Member{ID: "7f", Name: "b", URL: "http://192.0.2.7:9094"}},
		domain.GroupMember{Member: domain.Member{ID: "7f", Name: "b"}, Left: true},
		domain.GroupListenError{Err: err},
		domain.GroupStore{},
		domain.GroupStore{Reachable: true},
		domain.ImportAliases{Entries: 3, Skipped: skipped},
		domain.ImportAliases{Entries: 3},
		domain.ImportAliasesError{Err: err},
		domain.IdentityAdded{Name: "site7"},
		domain.IdentityRevoked{Name: "site7", Aliases: 3},
		domain.SecretsChanged{Fingerprints: []string{"01234567", "89abcdef"}},
		domain.LoadAliases{Entries: 3, Skipped: skipped},
		domain.LoadAliases{Entries: 3},
		domain.LoadAliasesError{Err: err},
		domain.AliasesUpdated{Entries: 3},
		domain.WriteAliasesError{What: "store", Err: err},
		domain.StoreDamaged{Damage: damage},
		domain.UpstreamError{UID: uid, Alias: "a", Key: peer.Key, Err: err},
		domain.UpstreamError{UID: uid, Alias: "a", Key: peer.Key, Err: caused{domain.CausePeerSilentAtFirst}},
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
		event := e.LogRecord()
		fmt.Fprintf(&out, "%T\n", e)
		for _, h := range []slog.Handler{slog.NewTextHandler(&out, options), slog.NewJSONHandler(&out, options)} {
			r := slog.NewRecord(time.Time{}, event.Level, event.Name, 0)
			r.AddAttrs(event.Attrs...)
			if err := h.Handle(context.Background(), r); err != nil {
				t.Fatal(err)
			}
		}
		fmt.Fprintf(&out, "counts as %q of the peer %v, limit %d\n", event.Kind, event.Peer, event.Limit)
		for _, a := range event.Attrs {
			fmt.Fprintf(&out, "%s=%q\n", a.Key, a.Value.String())
		}
		fmt.Fprintln(&out)
	}
	golden.File(t, "testdata/events.txt", out.String())
}

// Lines of a peer are limited, so an event of one names it. A field Peer, Scraper or RemoteKey is the peer that caused the event.
func TestRecordsOfPeersNameThem(t *testing.T) {
	for _, e := range everyEvent() {
		v, r := reflect.ValueOf(e), e.LogRecord()
		for _, name := range []string{"Peer", "Scraper", "RemoteKey"} {
			var key domain.PublicKey
			switch f := v.FieldByName(name); {
			case !f.IsValid():
				continue
			case name == "Peer":
				key = f.Interface().(domain.Peer).Key
			default:
				key = f.Interface().(domain.PublicKey)
			}
			if r.Peer != key || r.Limit == domain.LogUnlimited {
				t.Errorf("%T of %v has the record of %v, with limit %d", e, key, r.Peer, r.Limit)
			}
		}
	}
}

// An event is its struct and its log record: whatever else it could do would be a second place to touch.
func TestEventsHaveNoMethodButTheirLogRecord(t *testing.T) {
	for _, e := range everyEvent() {
		if typ := reflect.TypeOf(e); reflect.PointerTo(typ).NumMethod() != 1 {
			t.Errorf("%v has %d methods, want LogRecord alone", typ, reflect.PointerTo(typ).NumMethod())
		}
	}
}

// declaredEvents returns the names of the types of this package that are events.
func declaredEvents(t *testing.T) (names []string) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range f.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv != nil && fn.Name.Name == "LogRecord" {
				names = append(names, fn.Recv.List[0].Type.(*ast.Ident).Name)
			}
		}
	}
	return names
}

func TestEveryEventHasANameOfItsOwnAndALevel(t *testing.T) {
	levels := []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}
	typed, named := map[string]reflect.Type{}, map[string]string{}
	for _, e := range everyEvent() {
		typ, r := reflect.TypeOf(e), e.LogRecord()
		typed[r.Name] = cmp.Or(typed[r.Name], typ)
		named[typ.Name()] = cmp.Or(named[typ.Name()], r.Name)
		if typed[r.Name] != typ || named[typ.Name()] != r.Name {
			t.Errorf("%v is called %q, and %q is the name of %v", typ, r.Name, r.Name, typed[r.Name])
		}
		if !regexp.MustCompile(`^[a-z]+(-[a-z]+)+$`).MatchString(r.Name) || !slices.Contains(levels, r.Level) {
			t.Errorf("%v: name %q, level %v", typ, r.Name, r.Level)
		}
	}
	for _, name := range declaredEvents(t) {
		if named[name] == "" {
			t.Errorf("everyEvent has no %s", name)
		}
	}
	if len(declaredEvents(t)) < 34 {
		t.Errorf("%d events found", len(declaredEvents(t)))
	}
}

// An event is logged as a whole, in this or a later version, so none may hold a secret, not even where no attribute shows it
// today.
func TestNoEventCanCarryASecret(t *testing.T) {
	for _, e := range everyEvent() {
		if path := secretIn(reflect.TypeOf(e)); path != "" {
			t.Errorf("%T%s can hold a secret", e, path)
		}
	}
	type leak struct {
		Deep []*struct{ Keys map[string]domain.KeyPair }
	}
	if path := secretIn(reflect.TypeFor[leak]()); path != ".Deep[].Keys[].Seed" {
		t.Errorf("a secret behind slices, pointers and maps is found at %q", path)
	}
}

// secretIn returns the path of the first value in a type that is a secret, or whose type could hide one; errors are allowed.
func secretIn(t reflect.Type) (path string) {
	switch t {
	case reflect.TypeFor[domain.Secret](), reflect.TypeFor[domain.Seed]():
		return " "
	case reflect.TypeFor[error](), reflect.TypeFor[time.Time](), reflect.TypeFor[netip.AddrPort]():
		return ""
	}
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			if path = secretIn(t.Field(i).Type); path != "" {
				return "." + t.Field(i).Name + strings.TrimSpace(path)
			}
		}
	case reflect.Slice, reflect.Array, reflect.Map:
		if path = secretIn(t.Elem()); path != "" {
			return "[]" + strings.TrimSpace(path)
		}
	case reflect.Pointer:
		return secretIn(t.Elem())
	case reflect.Interface, reflect.Func, reflect.Chan, reflect.UnsafePointer:
		return " "
	}
	return ""
}
