// Package interop_test runs dhtprom against the published JavaScript packages.
package interop_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/interop/jspeer"
)

// The JavaScript packages among themselves: if this fails, the other tests of this folder mean nothing.

func TestJavaScriptPeersScrapeEachOther(t *testing.T) {
	t.Parallel()
	testnet := jspeer.StartTestnet(jspeer.Start(t), testnetSize)
	secret := jspeer.Seed("secret")
	scraper := jspeer.StartScraper(jspeer.Start(t), jspeer.Args{"dht": testnet.DHT(), "secret": secret})
	client := jspeer.StartClient(jspeer.Start(t), jspeer.Args{
		"dht": testnet.DHT(), "scraper": scraper.PublicKey, "secret": secret,
		"alias": "somebody", "service": "printer", "hostname": "cellar", "text": "jobs 7\n",
	})
	var registered struct{ Updated bool }
	if err := client.Await("register-alias-success", jspeer.Of(client.On)).Decode(&registered); err != nil || !registered.Updated {
		t.Errorf("registered: %+v, %v", registered, err)
	}

	scrapes, err := scraper.Scrape("somebody", 3)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range scrapes {
		if !s.Success || s.Body != "jobs 7\n" {
			t.Errorf("scrape %d: %+v", i, s)
		}
		client.Await("metrics-success", nil)
	}
	aliases := scraper.Aliases()
	want := jspeer.Alias{Alias: "somebody", Key: client.PublicKey, Hostname: "cellar", Service: "printer", Connected: true, Opens: 1}
	if len(aliases) != 1 || aliases[0] != want {
		t.Errorf("aliases: %+v, want %+v", aliases, want)
	}

	client.Source(jspeer.Args{"bytes": 100_000})
	big, err := scraper.Scrape("somebody", 1)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(big[0].Body))
	if big[0].Bytes < 100_000 || big[0].SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("a large body has %d bytes, or came out changed", big[0].Bytes)
	}
	client.Source(jspeer.Args{"fail": "out of ink"})
	failed, err := scraper.Scrape("somebody", 1)
	if err != nil {
		t.Fatal(err)
	}
	if failed[0].Success || !strings.HasPrefix(failed[0].ErrorMessage, "Failed to obtain metrics") {
		t.Errorf("a source that throws: %+v", failed[0])
	}
}

func TestJavaScriptClientTurnsAStrangerAway(t *testing.T) {
	t.Parallel()
	testnet := jspeer.StartTestnet(jspeer.Start(t), testnetSize)
	client := jspeer.StartClient(jspeer.Start(t), jspeer.Args{
		"dht": testnet.DHT(), "scraper": jspeer.Seed("nobody's key"), "secret": jspeer.Seed("secret"), "alias": "somebody",
	})
	client.Await("register-alias-error", nil) // there is no such scraper; by now the client listens
	node := jspeer.StartNode(testnet.Peer, testnet.DHT())
	var met struct{ Admitted bool }
	node.Call("stranger", jspeer.Args{"on": node.On, "key": client.PublicKey, "timeoutMs": 20000}, &met)
	if met.Admitted {
		t.Error("the client admitted a stranger")
	}
	client.Await("firewall-block", nil)
}

func TestJavaScriptNodesStoreAndEcho(t *testing.T) {
	t.Parallel()
	testnet := jspeer.StartTestnet(jspeer.Start(t), testnetSize)
	a := jspeer.StartNode(testnet.Peer, testnet.DHT())
	b := jspeer.StartNode(jspeer.Start(t), testnet.DHT())

	a.Call("ping", jspeer.Args{"on": a.On, "host": testnet.Bootstrap[0].Host, "port": testnet.Bootstrap[0].Port}, nil)

	var put struct{ Hash, PublicKey string }
	a.Call("immutablePut", jspeer.Args{"on": a.On, "value": "c0ffee"}, &put)
	var got struct {
		Found bool
		Value string
		Seq   int
	}
	b.Call("immutableGet", jspeer.Args{"on": b.On, "hash": put.Hash}, &got)
	if got.Value != "c0ffee" {
		t.Errorf("immutable: %+v", got)
	}
	a.Call("mutablePut", jspeer.Args{"on": a.On, "seed": jspeer.Seed("writer"), "value": "beef", "seq": 4}, &put)
	b.Call("mutableGet", jspeer.Args{"on": b.On, "key": put.PublicKey}, &got)
	if got.Value != "beef" || got.Seq != 4 {
		t.Errorf("mutable: %+v", got)
	}

	var server struct {
		On        int
		PublicKey string
	}
	b.Call("listen", jspeer.Args{"on": b.On, "seed": jspeer.Seed("server")}, &server)
	var echoed struct{ Bytes int }
	a.Call("echo", jspeer.Args{"on": a.On, "key": server.PublicKey, "bytes": 300_000, "chunk": 50_000}, &echoed)
	if echoed.Bytes != 300_000 {
		t.Errorf("echoed %d bytes", echoed.Bytes)
	}
	var found struct {
		Found []struct{ Peer struct{ PublicKey string } }
	}
	a.Call("findPeer", jspeer.Args{"on": a.On, "key": server.PublicKey}, &found)
	if len(found.Found) == 0 || found.Found[0].Peer.PublicKey != server.PublicKey {
		t.Errorf("findPeer: %+v", found)
	}

	var calls struct {
		On        int
		PublicKey string
	}
	b.Call("listen", jspeer.Args{"on": b.On, "seed": jspeer.Seed("rpc"), "mode": "rpc"}, &calls)
	var answer struct{ Value string }
	a.Call("call", jspeer.Args{"on": a.On, "key": calls.PublicKey, "method": "echo", "value": "0102"}, &answer)
	if answer.Value != "0102" {
		t.Errorf("call: %+v", answer)
	}
	var refused *jspeer.Error
	if err := a.Try("call", jspeer.Args{"on": a.On, "key": calls.PublicKey, "method": "fail"}, nil); !errors.As(err, &refused) || refused.Code != "REQUEST_ERROR" {
		t.Errorf("a call that fails: %v", err)
	}

	b.Call("listen", jspeer.Args{"on": b.On, "seed": jspeer.Seed("hold"), "mode": "hold"}, &server)
	var here, there struct{ On int }
	a.Call("connect", jspeer.Args{"on": a.On, "key": server.PublicKey}, &here)
	if err := b.Await("connection", jspeer.Of(server.On)).Decode(&there); err != nil {
		t.Fatal(err)
	}
	a.Call("send", jspeer.Args{"on": here.On, "bytes": "aa55"}, nil)
	bytes := func(want string) func(jspeer.Event) bool {
		return func(e jspeer.Event) bool {
			return e.Of == there.On && strings.Contains(e.String(), fmt.Sprintf("%q", want))
		}
	}
	b.Await("data", bytes("aa55"))
	if unorderedMessages.in(t, a.Peer) {
		a.Call("send", jspeer.Args{"on": here.On, "bytes": "55aa", "unordered": true}, nil)
		b.Await("message", bytes("55aa"))
	}
	a.Call("end", jspeer.Args{"on": here.On}, nil)
	b.Await("close", jspeer.Of(there.On))
}

func TestJavaScriptNodesAnnounceRelayAndSleep(t *testing.T) {
	t.Parallel()
	testnet := jspeer.StartTestnet(jspeer.Start(t), testnetSize)
	p := jspeer.Start(t)
	// Nodes that take themselves for firewalled and do not punch can only use a relay.
	firewalled := testnet.DHT()
	firewalled["ephemeral"], firewalled["quickFirewall"] = true, false
	a, b, r := jspeer.StartNode(p, firewalled), jspeer.StartNode(p, firewalled), jspeer.StartNode(p, testnet.DHT())

	target, seed := jspeer.Seed("topic"), jspeer.Seed("announcer")
	lookup := func() int {
		var got struct {
			Found []struct{ Peers []struct{ PublicKey string } }
		}
		b.Call("lookup", jspeer.Args{"on": b.On, "target": target}, &got)
		return len(got.Found)
	}
	a.Call("announce", jspeer.Args{"on": a.On, "target": target, "seed": seed}, nil)
	if lookup() == 0 {
		t.Error("no node has the announcement")
	}
	a.Call("unannounce", jspeer.Args{"on": a.On, "target": target, "seed": seed}, nil)
	if n := lookup(); n != 0 {
		t.Errorf("%d nodes still know of an announcement taken back", n)
	}
	var near struct{ Closest []jspeer.Address }
	a.Call("findNode", jspeer.Args{"on": a.On, "target": target}, &near)
	if len(near.Closest) < testnetSize/2 {
		t.Errorf("findNode found %v", near.Closest)
	}

	var relay, server struct {
		On        int
		PublicKey string
	}
	r.Call("relay", jspeer.Args{"on": r.On, "seed": jspeer.Seed("relay")}, &relay)
	b.Call("listen", jspeer.Args{"on": b.On, "holepunch": false, "shareLocalAddress": false}, &server)
	a.Call("echo", jspeer.Args{"on": a.On, "key": server.PublicKey, "relayThrough": relay.PublicKey, "localConnection": false, "holepunch": false, "bytes": 1000}, nil)
	var relayed struct{ Matched int }
	r.Call("relayStats", jspeer.Args{"on": relay.On}, &relayed)
	if relayed.Matched == 0 {
		t.Errorf("nothing went through the relay: %+v", relayed)
	}

	a.Call("suspend", jspeer.Args{"on": a.On}, nil)
	a.Call("resume", jspeer.Args{"on": a.On}, nil)
	a.Call("info", jspeer.Args{"on": a.On}, nil)
	a.Call("destroy", jspeer.Args{"on": a.On}, nil)
}

func TestJavaScriptScraperTellsRightSecretsFromWrong(t *testing.T) {
	t.Parallel()
	testnet := jspeer.StartTestnet(jspeer.Start(t), testnetSize)
	scraper := jspeer.StartScraper(testnet.Peer, jspeer.Args{"dht": testnet.DHT(), "secret": jspeer.Seed("secret"), "seed": jspeer.Seed("scraper")})
	node := jspeer.StartNode(testnet.Peer, testnet.DHT())
	register := func(secret, key string) (updated bool, err error) {
		var answer struct{ Updated bool }
		err = node.Try("registerAlias", jspeer.Args{
			"on": node.On, "scraper": scraper.PublicKey, "secret": jspeer.Seed(secret), "alias": "x", "key": jspeer.Seed(key),
		}, &answer)
		return answer.Updated, err
	}
	if updated, err := register("secret", "one"); err != nil || !updated {
		t.Errorf("first: %v, %v", updated, err)
	}
	if updated, err := register("secret", "one"); err != nil || updated {
		t.Errorf("again: %v, %v", updated, err)
	}
	var failed *jspeer.Error
	if _, err := register("not the secret", "one"); !errors.As(err, &failed) || failed.Message != "Unauthorised" {
		t.Errorf("wrong secret: %v", err)
	}
	scraper.Await("alias-unauthorised", jspeer.Of(scraper.On))
}

func TestKilledPeersAnswerNoMore(t *testing.T) {
	t.Parallel()
	p := jspeer.Start(t)
	node := jspeer.StartNode(p, jspeer.Args{"bootstrap": []string{}})
	p.Kill()
	if err := p.Try("info", jspeer.Args{"on": node.On}, nil); err == nil {
		t.Error("a killed peer answered")
	}
}

func TestFailuresOfCommandsAreTold(t *testing.T) {
	t.Parallel()
	p := jspeer.Start(t)
	var failed *jspeer.Error
	if err := p.Try("no such command", nil, nil); !errors.As(err, &failed) {
		t.Errorf("got %v", err)
	}
	if err := p.Try("info", jspeer.Args{"on": 99}, nil); !errors.As(err, &failed) || !strings.Contains(failed.Message, "99") {
		t.Errorf("got %v", err)
	}
}
