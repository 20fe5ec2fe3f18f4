package laws

import (
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
)

// rule restricts the imports of a package besides the standard library. Tests may import more.
type rule struct {
	path string // a package; "x/*" is every package right below x, "x/..." x and everything below
	ours string // packages of this module, in the same form
	libs string // modules of others
	why  string
}

const anything = "..."

// rules is the import table. A package matches the first rule with its path; a package without a rule fails the test.
var rules = []rule{
	// The machine, and the vocabulary of the application.
	{"ports/host", "", "", "the bottom of everything: whatever it imports, all import"},
	{"ports/host/hosttest", "ports/host", "", "a contract is stated in the words of its port alone"},
	{"ports/bridge", "ports/host", "", "the one way from a goroutine into a loop and back, for all edges alike"},
	{"ports/bound", "ports/host", "", "limits on peers are held by the same machines in every layer, so those know none of them"},
	{"internal/states", "", "", "tables of states; what the states are of is not known here"},
	{"internal/states/statestest", "internal/states internal/golden", "", "tables against documentation; only tests import it"},
	{"ports/kv", "ports/host", "", "a store that processes share, on the loop as all ports"},
	{"ports/kv/lease", "ports/host ports/kv", "", "one lease, for the real store's connections and the simulated one's alike"},
	{"ports/kv/kvtest", "ports/host ports/kv", "", "a contract is stated in the words of its port alone"},
	{"ports/pipe", "", "", "ordered bytes to a server, on the loop as all ports"},
	{"ports/pipe/pipetest", "ports/pipe", "", "a contract is stated in the words of its port alone"},
	{"domain", "", "", "rules without I/O, so that they can be read, tested and trusted by themselves"},
	{"ports", "domain", "", "interfaces of the use cases; no package that implements them is imported"},
	{"ports/scrape", "domain ports ports/host", "", "whole pages on top of the port, for use cases and adapters alike"},
	{"ports/scrapeio", "domain ports ports/bridge ports/host", "", "the bridge for scrapes, for all edges alike"},
	{"ports/portstest/inbox", "ports ports/portstest", "", "a loop for sources with goroutines, which portstest itself does without"},
	{"ports/portstest", "ports domain ports/host ports/scrape", "", "fakes and contracts of the ports; adapters and app run them, so it can know neither"},
	{"app", "domain internal/states ports ports/host ports/bound ports/scrape", "", "use cases see the world through ports: no UDP, no Noise, no Kademlia, no HTTP"},

	// hyperdht, rank by rank: a package imports lower ranks only, and of those only the ones in its row. Ranks 0 to 2 take the
	// time as an argument and return values; of ports/host they use no more than Instant and Event, of ports/bound the row of a
	// limit.
	{"hyperdht/compact", "", "", "rank 0: the encoding of everything"},
	{"hyperdht/id", "hyperdht/compact", "golang.org/x/crypto", "rank 0: keys and names; a node id is a hash of an encoded address"},
	{"hyperdht/internal/wire", "hyperdht/compact hyperdht/id", "golang.org/x/crypto", "rank 1: messages are bytes; who sends them when is not known here"},
	{"hyperdht/internal/kad", "hyperdht/id ports/host", "", "rank 2: the routing table sends no requests"},
	{"hyperdht/internal/nat", "ports/bound", "", "rank 2: samples in, addresses out; where samples come from is not known here"},
	{"hyperdht/internal/noise", "hyperdht/id internal/states", "github.com/flynn/noise filippo.io/edwards25519", "rank 2: a handshake is a function of keys and bytes"},
	{"hyperdht/internal/records", "hyperdht/id hyperdht/internal/wire ports/host ports/bound", "", "rank 2: storage of records; the network is not known here"},
	{"hyperdht/internal/udx", "internal/states ports/host ports/bound", "", "rank 2: the stream machine runs in tests without a network"},
	{"hyperdht/internal/secret", "hyperdht/id hyperdht/internal/noise ports/bound", "golang.org/x/crypto", "rank 2: encryption needs keys, not streams"},
	{"hyperdht/mux", "hyperdht/compact ports/bound", "", "rank 2: channels over any byte pipe"},
	{"hyperdht/mux/muxtest", "hyperdht/mux", "", "pipes for tests of protocols over a mux"},
	{"hyperdht/muxrpc", "hyperdht/mux hyperdht/compact ports/bound", "", "rank 2: calls over any mux"},
	{"hyperdht/internal/stream", "hyperdht/internal/udx internal/states ports/host ports/bound", "", "rank 3: streams on a host's sockets; not a word of the DHT"},
	{"hyperdht/internal/demux", "hyperdht/internal/udx hyperdht/internal/wire ports/host", "", "rank 3: whose datagram it is, by its bytes; those that get it are interfaces"},
	{"hyperdht/internal/rpc", "hyperdht/id hyperdht/internal/wire hyperdht/internal/kad hyperdht/internal/nat internal/states ports/host ports/bound", "", "rank 3: DHT requests know nothing of peers, streams and encryption"},
	{"hyperdht", "hyperdht/id hyperdht/internal/* hyperdht/mux internal/states ports/host ports/bound", "", "rank 4: a node on the loop, which makes connections of the DHT, streams and encryption; of channels it has those of relays only"},
	{"hyperdht/forge", "hyperdht/id hyperdht/internal/noise hyperdht/internal/secret hyperdht/internal/udx hyperdht/internal/wire", "", "messages of attackers, for tests of what they cost"},
	{"hyperdht/swarm", "hyperdht hyperdht/id internal/states ports/host ports/bound", "", "rank 5: topics and peers, over the public face of a node"},
	{"hyperdht/dhtnet", "hyperdht hyperdht/id hyperdht/swarm ports/bound ports/bridge ports/host", "", "rank 6: decides nothing, so it needs no protocol package"},

	// Adapters meet in cmd and nowhere else.
	{"adapters/dht", "adapters/dht/muxscrape hyperdht hyperdht/compact hyperdht/id hyperdht/mux hyperdht/muxrpc domain ports ports/host ports/bound ports/scrape", anything, "the one adapter over hyperdht, and only over its public face"},
	{"adapters/dht/muxscrape", "hyperdht/compact hyperdht/mux domain ports ports/bound", "", "scrapes over any mux; aliases and sessions are not known here"},
	{"adapters/portmap", "internal/states ports/host ports/bound", anything, "a mapping at the router"},
	{"adapters/stun", "internal/stunattr ports/host ports/bound", anything, "an address probe for hyperdht"},
	{"adapters/uplinks", "domain ports ports/host", "", "two transports as one; what they are made of is not known here"},
	{"adapters/turn", "internal/states internal/stunattr ports/bound ports/host ports/pipe", "github.com/pion/stun", "a host on another host; what runs on it is not known here"},
	{"adapters/simnet", "ports/host", "", "the simulator must not bring its own sources of disorder"},
	{"adapters/simnet/simpipe", "adapters/simnet ports/pipe", "", "pipes between simulated machines, behind their port"},
	{"adapters/simnet/simturn", "adapters/simnet adapters/simnet/simpipe ports/host ports/pipe", "github.com/pion/stun", "a server on a simulated machine; it shares nothing with the client but the library for messages"},
	{"adapters/simnet/*", "adapters/simnet domain ports ports/host ports/kv ports/kv/lease", "", "what stands around simulated machines: disks and stores behind ports, recorders of datagrams"},
	{"adapters/udp", "ports/host ports/bound", "golang.org/x/net golang.org/x/sys", "a machine knows nothing of what runs on it"},
	{"adapters/pipes", "ports/bridge ports/host ports/pipe", "", "connections of a machine; what goes over them is not known here"},
	{"adapters/web/hosts", "", "", "which names a server answers under, for the scraper's and the client's alike"},
	{"adapters/web/look", "internal/coding", "", "frame, style and script of status pages, for those of the scraper and of the client alike"},
	{"adapters/web/unix", "", "golang.org/x/sys", "sockets of the machine, for any HTTP server"},
	{"adapters/web/passon", "domain", "", "requests between members of a group, for the server and the client alike"},
	{"adapters/members", "adapters/web/passon domain ports ports/host ports/scrapeio", "", "an HTTP client for members alone, which needs nothing of exporters"},
	{"adapters/web", "adapters/web/hosts adapters/web/look adapters/web/passon domain internal/coding ports ports/bound ports/bridge ports/host ports/scrapeio", anything, "an adapter like the others, with its guard beside it"},
	{"adapters/bolt", "internal/record internal/tempfile domain ports ports/bound ports/host", anything, "a file of its own"},
	{"adapters/nodes", "internal/tempfile ports", anything, "likewise"},
	{"adapters/targets", "internal/tempfile domain ports ports/host", anything, "likewise"},
	{"adapters/source", "domain ports ports/bound ports/host ports/scrape ports/scrapeio", "github.com/klauspost/compress github.com/prometheus/client_golang", "what each client links; exporters are apart"},
	{"adapters/source/exporter", "adapters/source adapters/source/families domain internal/coding ports ports/bound ports/host ports/scrape ports/scrapeio", anything, "an HTTP client with all that Prometheus configures, for programs with exporters"},
	{"adapters/source/families", "", "", "a filter of bytes, which knows formats of metrics and nothing else"},
	{"adapters/etcd", "domain internal/record ports ports/bound ports/host ports/kv", "", "groups over the port of a store; no library of one"},
	{"adapters/etcd/client", "internal/tlsfiles ports/bridge ports/host ports/kv ports/kv/lease", "go.etcd.io/etcd google.golang.org/grpc go.uber.org/zap", "the one package over etcd's client library, with its goroutines"},
	{"adapters/filesd", "internal/tempfile domain ports/host", anything, "files of the operator, as an adapter of their own"},

	// Packages that assemble the others.
	{"cmd/internal/...", ". doctor adapters/stun adapters/web/hosts adapters/web/unix domain internal/privatefile internal/procs cmd/internal/*", anything, "what all programs need"},
	{"cmd/hyperdht", ". adapters/stun adapters/web/unix domain hyperdht hyperdht/dhtnet hyperdht/id keyfile cmd/internal/*", anything, "flags and exit codes over dhtnet; of dhtprom, it knows nothing but its nodes"},
	{"cmd/...", ". client scraper scraper/etcdgroup node node/turnserver doctor wiring adapters/filesd adapters/source/exporter adapters/source/families adapters/stun adapters/web adapters/web/hosts adapters/web/look adapters/web/unix app domain hyperdht internal/privatefile internal/tlsfiles keyfile cmd/internal/*", anything, "flags, configuration, exit codes; what runs is put together by the packages of the front door"},
	{"bench/...", anything, anything, "measures the whole, from outside"},
	{"examples/...", anything, anything, "programs of people who use this"},
	{"sim/...", anything, anything, "scenarios are whole systems"},
	{"interop/...", anything, anything, "peers for whole systems"},
	{"internal/coding", "", "github.com/klauspost/compress", "what all who read metrics over HTTP decode"},
	{"internal/stunattr", "", "", "addresses in STUN messages, for the clients of STUN and of TURN alike"},
	{"internal/record", "domain", "", "entries and pins as bytes, for all stores that keep them"},
	{"internal/privatefile", "internal/tempfile", anything, "files with secrets, of the programs and of key files: only their owner can read them"},
	{"internal/tlsfiles", "", "", "certificates of TLS clients are read alike, and again for each connection"},
	{"internal/tempfile", "", "", "all writers name temporary files alike, so that the next start finds leftovers; and what they write is read within a bound"},
	{"spec/vectors", "", "", "output of the reference implementation; only tests import it"},
	{"internal/procs", "", "", "processors by the load, for programs: a library leaves that to the service that embeds it"},
	{"internal/cost", "", "", "what a call costs, for fuzz targets; only tests import it"},
	{"internal/api", "internal/golden", "", "what packages offer to importers; only tests import it"},
	{"internal/laws", "", "", "tests of the tree as a whole"},
	{"internal/golden", "", "", "files that tests compare with; only tests import it"},
	{"internal/part", "domain hyperdht ports/bridge ports/host", "", "lifecycles on a node, for the packages of the roles alone"},
	{".", "adapters/udp adapters/dht adapters/stun adapters/nodes adapters/pipes adapters/portmap adapters/turn adapters/uplinks app domain internal/part internal/tempfile ports ports/host ports/pipe ports/bridge hyperdht hyperdht/id hyperdht/dhtnet", "", "the front door: what all roles run on. Whatever it imports, all who embed any role link"},
	{"client", ". adapters/source app domain internal/part ports ports/host", "github.com/prometheus/client_golang", "the role of a service that is scraped: no web server, no store"},
	{"scraper/etcdgroup", ". adapters/etcd adapters/etcd/client ports ports/host", "", "a group of scrapers in etcd, for those who link its client"},
	{"scraper", ". adapters/* adapters/web/hosts adapters/web/passon app domain internal/part ports ports/bridge ports/host", "github.com/prometheus/client_golang", "the role of who scrapes"},
	{"node/turnserver", "", "github.com/pion/turn github.com/pion/logging golang.org/x/time", "pion's TURN server, for those who link it; nodes are not known here"},
	{"keyfile", "domain internal/privatefile internal/tempfile", "", "identities in files, for the programs and for services alike"},
	{"node", ". app adapters/stun adapters/udp domain hyperdht hyperdht/id internal/part ports/bridge ports/host", "", "the roles of those who help the two to meet"},
	{"doctor", ". adapters/dht adapters/portmap adapters/stun adapters/udp domain hyperdht hyperdht/id hyperdht/muxrpc internal/part ports ports/bridge ports/host", "", "an examination of a node, on any host"},
	{"wiring", ". client scraper", "github.com/google/wire", "provider sets: only wire's injectors import it, so no program links wire"},
}

// onlyTests are packages of this module that shipped code must not import. Scenarios do not ship.
var onlyTests = []string{"spec/vectors", "internal/cost", "internal/golden", "internal/api", "ports/host/hosttest", "ports/kv/kvtest", "ports/pipe/pipetest", "ports/portstest", "ports/portstest/inbox", "hyperdht/forge", "hyperdht/mux/muxtest", "internal/states/statestest", "interop/earlier", "interop/etcd", "interop/jspeer", "interop/netns", "interop/tool", "interop/turn"}

// matches reports whether a package path has the form of a pattern.
func matches(pattern, p string) bool {
	if pattern == anything {
		return true
	}
	if dir, ok := strings.CutSuffix(pattern, "/..."); ok {
		return under(p, dir)
	}
	if dir, ok := strings.CutSuffix(pattern, "/*"); ok {
		return path.Dir(p) == dir
	}
	return p == pattern
}

func anyMatches(patterns []string, p string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return matches(pattern, p) })
}

func ruleFor(p string) *rule {
	for i := range rules {
		if matches(rules[i].path, p) {
			return &rules[i]
		}
	}
	return nil
}

func TestImportsFollowTheTable(t *testing.T) {
	for _, p := range packages(t) {
		r := ruleFor(p.path)
		if r == nil {
			t.Errorf("package %s is not in the table of arch_test.go: say what it may import, and why", p.path)
			continue
		}
		ours, libs := strings.Fields(r.ours), strings.Fields(r.libs)
		for _, f := range p.code {
			for _, imported := range f.imports() {
				below, isOurs := strings.CutPrefix(imported, "./")
				first, _, _ := strings.Cut(imported, "/")
				switch {
				case isOurs && anyMatches(onlyTests, below) && !anyMatches(onlyTests, p.path) && !under(p.path, "sim"):
					t.Errorf("%s imports %s, which is for tests", f.name, below)
				case isOurs && !anyMatches(ours, below):
					t.Errorf("%s imports %s: %s may not (%s)", f.name, below, p.path, r.why)
				case !isOurs && strings.Contains(first, ".") && !slices.ContainsFunc(libs, func(lib string) bool { return lib == anything || under(imported, lib) }):
					t.Errorf("%s imports %s: %s may not (%s)", f.name, imported, p.path, r.why)
				}
			}
		}
	}
}

// A rule for a missing package has no effect, and one that names a missing package allows less than it seems to.
func TestTableNamesWhatExists(t *testing.T) {
	all := packages(t)
	exists := func(pattern string) bool {
		return pattern == anything || slices.ContainsFunc(all, func(p *pkg) bool { return matches(pattern, p.path) })
	}
	for _, r := range rules {
		if r.why == "" {
			t.Errorf("the rule for %s has no reason", r.path)
		}
		for _, pattern := range append(strings.Fields(r.ours), r.path) {
			if !exists(pattern) && !slices.Contains(awaited, pattern) {
				t.Errorf("the rule for %s names %s, which has vanished", r.path, pattern)
			}
		}
	}
	for _, pattern := range onlyTests {
		if !exists(pattern) && !slices.Contains(awaited, pattern) {
			t.Errorf("onlyTests names %s, which has vanished", pattern)
		}
	}
}

// An unused permission would let a dependency in without a review. Wildcards are not checked.
func TestPermissionsAreUsed(t *testing.T) {
	used := map[*rule]map[string]bool{} // imports of the packages that a row is for
	for _, p := range packages(t) {
		r := ruleFor(p.path)
		if r == nil {
			continue
		}
		if used[r] == nil {
			used[r] = map[string]bool{}
		}
		for _, f := range p.code {
			for _, imported := range f.imports() {
				used[r][imported] = true
			}
		}
	}
	for i := range rules {
		r := &rules[i]
		for _, pattern := range append(strings.Fields(r.ours), strings.Fields(r.libs)...) {
			permits := func(imported string) bool {
				below, isOurs := strings.CutPrefix(imported, "./")
				return isOurs && below == pattern || !isOurs && under(imported, pattern)
			}
			isWildcard := pattern == anything || strings.HasSuffix(pattern, "/*")
			if !isWildcard && !slices.ContainsFunc(slices.Collect(maps.Keys(used[r])), permits) {
				t.Errorf("no package of %s imports %s: it needs no permission", r.path, pattern)
			}
		}
	}
}

// The ranks of docs/architecture.md: imports upwards, or sideways within a rank, erode the layers.
func TestRanksOnlyLookDown(t *testing.T) {
	ranks := [][]string{
		{"hyperdht/compact", "hyperdht/id"},
		{"hyperdht/internal/wire"},
		{"hyperdht/internal/kad", "hyperdht/internal/nat", "hyperdht/internal/noise", "hyperdht/internal/records", "hyperdht/internal/udx", "hyperdht/internal/secret", "hyperdht/mux", "hyperdht/muxrpc"},
		{"hyperdht/internal/stream", "hyperdht/internal/rpc", "hyperdht/internal/demux"},
		{"hyperdht"},
		{"hyperdht/swarm"},
		{"hyperdht/dhtnet", "hyperdht/forge"},
	}
	// Neighbours of one rank that may look at each other, in this direction.
	sideways := map[string]string{
		"hyperdht/id":              "hyperdht/compact",
		"hyperdht/internal/secret": "hyperdht/internal/noise",
		"hyperdht/muxrpc":          "hyperdht/mux",
	}
	rank := map[string]int{}
	for i, members := range ranks {
		for _, m := range members {
			rank[m] = i
		}
	}
	for _, p := range packages(t) {
		mine, ranked := rank[p.path]
		if !ranked {
			if under(p.path, "hyperdht") && !strings.HasSuffix(p.path, "test") {
				t.Errorf("%s has no rank", p.path)
			}
			continue
		}
		for _, f := range p.code {
			for _, imported := range f.imports() {
				below, isOurs := strings.CutPrefix(imported, "./")
				theirs, isRanked := rank[below]
				if !isOurs || !isRanked || theirs < mine || slices.Contains(strings.Fields(sideways[p.path]), below) {
					continue
				}
				t.Errorf("%s (rank %d) imports %s (rank %d)", f.name, mine, below, theirs)
			}
		}
	}
}

// awaited are packages in the table that do not exist yet. Existing ones must be removed from this list, so that their loss is
// noticed.
var awaited = []string{}
