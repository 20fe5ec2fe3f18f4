package portstest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

var (
	scraperKeys = domain.KeyPairFromSeed(domain.SeedFrom([32]byte{1}))
	clientKeys  = domain.KeyPairFromSeed(domain.SeedFrom([32]byte{2}))
	formerKeys  = domain.KeyPairFromSeed(domain.SeedFrom([32]byte{3}))
)

func setOf(t *testing.T, aliases ...domain.Alias) domain.TargetSet {
	t.Helper()
	var targets []domain.Target
	for _, a := range aliases {
		targets = append(targets, domain.Target{Alias: a, Hostname: "h", Service: "s"})
	}
	s, err := domain.NewTargetSet(targets)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The network carries a set as the protocol does: the exchange begins without content, and ends with proofs for pinned targets.
func TestNetworkRegistersSets(t *testing.T) {
	base, set := setOf(t, "a", "b"), setOf(t, "b", "c")
	rejected := ports.SetReply{Success: true, Shared: true, Rejected: []domain.RejectedTarget{{Alias: "b", Reason: domain.ReasonPinned}, {Alias: "x", Reason: domain.ReasonPinned}}}
	for _, c := range []struct {
		name    string
		noSets  bool
		base    domain.TargetSet
		replies []ports.SetReply // of the scraper, the last one repeatedly; none for a scraper without sets
		want    string
	}{
		{"known by its revision", false, base, []ports.SetReply{{Success: true}}, "open; 2 of base; updated false <nil>"},
		{"all", false, base, []ports.SetReply{{Success: true, Need: ports.NeedAll}, {Success: true, Updated: true}}, "open; 2 of base; all [b c] []; updated true <nil>"},
		{"changes", false, base, []ports.SetReply{{Success: true, Need: ports.NeedChanges}, {Success: true}}, "open; 2 of base; changes [c] [a]; updated false <nil>"},
		{"changes of no base", false, domain.TargetSet{}, []ports.SetReply{{Success: true, Need: ports.NeedChanges}, {Success: true}}, "open; 2 of none; all [b c] []; updated false <nil>"},
		{"again and again", false, base, []ports.SetReply{{Success: true, Need: ports.NeedAll}},
			"open; 2 of base; all [b c] []; all [b c] []; all [b c] []; failed " + portstest.ErrSetAgain.Error()},
		{"refused", false, base, []ports.SetReply{{Message: "no"}}, "open; 2 of base; failed scraper reported: no"},
		{"pinned", false, base, []ports.SetReply{rejected}, "open; 2 of base; proof b true of set, 0 targets; shared; rejected [{b pinned}]; updated false <nil>"},
		{"pinned, without any of its targets", false, base, []ports.SetReply{rejected, {Success: true, Need: ports.NeedAll}, rejected},
			"open; 2 of base; proof b true of set, 0 targets; proof b true of none, 2 targets; shared; rejected [{b pinned}]; updated false <nil>"},
		{"pinned, again and again", false, base, []ports.SetReply{rejected, {Success: true, Need: ports.NeedAll}},
			"open; 2 of base; proof b true of set, 0 targets; proof b true of none, 2 targets; failed " + portstest.ErrSetAgain.Error()},
		{"taken elsewhere", false, base, []ports.SetReply{{Success: true, Elsewhere: true}}, "open; 2 of base; elsewhere; updated false <nil>"},
		{"not supported", false, base, nil, "open; unknown true"},
		{"not supported by the switch", true, base, []ports.SetReply{{Success: true}}, "open; unknown true"},
	} {
		t.Run(c.name, func(t *testing.T) {
			loop := portstest.NewLoop(1)
			n := portstest.NewNetwork(loop)
			n.NoSets = c.noSets
			var calls []string
			call := func(format string, args ...any) { calls = append(calls, fmt.Sprintf(format, args...)) }
			revisions := map[domain.Revision]string{base.Revision(): "base", set.Revision(): "set", {}: "none"}
			asked := 0
			onSet := func(req ports.SetRequest, reply func(ports.SetReply)) {
				var aliases []domain.Alias
				switch content := req.Content; {
				case content == nil:
					call("%d of %s", req.Count, revisions[req.Base])
				case content.Former != nil:
					call("proof b %t of %s, %d targets", content.Former["b"] == formerKeys.Public, revisions[content.Since], len(content.Targets))
				default:
					for _, t := range content.Targets {
						aliases = append(aliases, t.Alias)
					}
					kind := "all"
					if content.Since == base.Revision() {
						kind = "changes"
					}
					call("%s %v %v", kind, aliases, content.Gone)
				}
				if req.Revision != set.Revision() || req.Key != clientKeys.Public || req.Instance.IsZero() {
					t.Errorf("request %+v", req)
				}
				reply(c.replies[min(asked, len(c.replies)-1)])
				asked++
			}
			if c.replies == nil {
				onSet = nil
			}
			scraper, client := portstest.NewTransport(n), portstest.NewTransport(n)
			if _, err := scraper.ListenAliases(ports.AliasListen{Keys: scraperKeys, OnOpen: func(ports.Conn) ports.AliasHandlers {
				return ports.AliasHandlers{OnSet: onSet}
			}}, func(error) {}); err != nil {
				t.Fatal(err)
			}
			loop.Advance(time.Second)
			client.RegisterAlias(ports.Registration{
				Scraper: scraperKeys.Public, Dial: formerKeys, Register: domain.Register{Key: clientKeys.Public},
				OnOpen: func(domain.Peer) { call("open") }, OnShared: func() { call("shared") }, OnElsewhere: func() { call("elsewhere") },
				Set: &ports.SetRegistration{
					Targets: set, Base: c.base, OnRejected: func(r []domain.RejectedTarget) { call("rejected %v", r) },
					Former: func(domain.Alias) domain.KeyPair { return formerKeys },
				},
			}, func(updated bool, err error) {
				remote, _ := errors.AsType[*domain.RemoteError](err)
				switch {
				case remote != nil && remote.Unknown:
					call("unknown %t", remote.Scraper)
				case err != nil:
					call("failed %v", err)
				default:
					call("updated %t %v", updated, err)
				}
			})
			loop.Advance(time.Second)
			if got := strings.Join(calls, "; "); got != c.want {
				t.Errorf("called %s, want %s", got, c.want)
			}
			if n.Links(scraperKeys.Public) != 0 {
				t.Error("a connection is left")
			}
		})
	}
}

// A cancelled registration is silent.
func TestNetworkCancelsSets(t *testing.T) {
	loop := portstest.NewLoop(1)
	n := portstest.NewNetwork(loop)
	scraper, client := portstest.NewTransport(n), portstest.NewTransport(n)
	if _, err := scraper.ListenAliases(ports.AliasListen{Keys: scraperKeys, OnOpen: func(ports.Conn) ports.AliasHandlers {
		return ports.AliasHandlers{OnSet: func(_ ports.SetRequest, reply func(ports.SetReply)) { reply(ports.SetReply{Success: true}) }}
	}}, func(error) {}); err != nil {
		t.Fatal(err)
	}
	loop.Advance(time.Second)
	for wait := range 4 {
		cancel := client.RegisterAlias(ports.Registration{Scraper: scraperKeys.Public, Dial: clientKeys, Set: &ports.SetRegistration{
			OnRejected: func([]domain.RejectedTarget) { t.Error("rejected after cancel") },
		}}, func(bool, error) { t.Error("called after cancel") })
		loop.Advance(time.Duration(wait) * portstest.Latency * 9 / 10)
		cancel()
		loop.Advance(time.Second)
	}
}
