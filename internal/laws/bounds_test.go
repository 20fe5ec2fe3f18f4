package laws

import (
	"go/ast"
	"go/token"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/adapters/bolt"
	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/dht/muxscrape"
	"github.com/dhtprom/dhtprom/adapters/etcd"
	"github.com/dhtprom/dhtprom/adapters/portmap"
	sourceadapter "github.com/dhtprom/dhtprom/adapters/source"
	"github.com/dhtprom/dhtprom/adapters/source/exporter"
	"github.com/dhtprom/dhtprom/adapters/stun"
	"github.com/dhtprom/dhtprom/adapters/turn"
	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/adapters/web"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/dhtnet"
	"github.com/dhtprom/dhtprom/hyperdht/mux"
	"github.com/dhtprom/dhtprom/hyperdht/muxrpc"
	"github.com/dhtprom/dhtprom/hyperdht/swarm"
	"github.com/dhtprom/dhtprom/internal/golden"
	"github.com/dhtprom/dhtprom/ports/bound"
)

// bounds lists every limit on resources used by peers, from the outside in.
func bounds() []bound.Bound {
	return slices.Concat(
		udp.Bounds(), hyperdht.Bounds(), mux.Bounds(), muxrpc.Bounds(), swarm.Bounds(), dhtnet.Bounds(), stun.Bounds(), turn.Bounds(), portmap.Bounds(),
		dht.Bounds(), muxscrape.Bounds(), app.Bounds(), sourceadapter.Bounds(), exporter.Bounds(), bolt.Bounds(), etcd.Bounds(), web.Bounds(),
	)
}

const boundsDoc = "docs/security.md"

var boundsTable = regexp.MustCompile(`(?s)<!-- bounds -->\n.*<!-- end of bounds -->\n`)

// The numbers come from the constants, so the document cannot differ from the code.
func TestSecurityDocHasTheTableOfBounds(t *testing.T) {
	enter(t)
	doc, err := os.ReadFile(boundsDoc)
	if err != nil {
		t.Fatal(err)
	}
	at := boundsTable.FindIndex(doc)
	if at == nil {
		t.Fatalf("%s has no table", boundsDoc)
	}
	golden.Part(t, boundsDoc, string(doc), at[0], at[1], "<!-- bounds -->\n"+bound.Table(bounds())+"<!-- end of bounds -->\n")
}

func TestBoundsAreComplete(t *testing.T) {
	counters := literals(t, "adapters/dht", "adapters/web")
	seen := map[string]bool{}
	for _, b := range bounds() {
		if seen[b.Name] {
			t.Errorf("%s has two rows", b.Name)
		}
		seen[b.Name] = true
		if b.Name == "" || b.What == "" || b.Scope == "" || b.Limit == "" || b.Policy == "" || b.Reason == "" {
			t.Errorf("%+v: a field is empty", b)
		}
		if b.Counter == "" {
			continue
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(b.Counter, "dhtprom_"), "{")
		if !counters[name] && !counters[strings.TrimSuffix(name, "_total")] {
			t.Errorf("%s: there is no counter %s", b.Name, b.Counter)
		}
	}
	constants := map[string]bool{}
	for _, p := range packages(t) {
		for _, f := range p.code {
			for _, name := range constantsOf(f) {
				constants[path.Base(p.path)+"."+name] = true
			}
		}
	}
	for name := range seen {
		if !constants[name] {
			t.Errorf("the row of %s names no constant", name)
		}
	}
}

// noBounds are constants called max, or Max, that do not limit resources used by peers.
var noBounds = map[string]string{
	"app.maxRegisterInterval": "our own configuration",
	"app.maxScrapers":         "our own configuration",
	"bolt.maxDepth":           "a file of our own",
	"bolt.maxFile":            "a file of our own",
	"bolt.maxKept":            "damaged files of our own",
	"bolt.maxLinks":           "links of our own disk",
	"bolt.maxPageSize":        "a file of our own",
	"bolt.maxProblems":        "a file of our own",
	"client.maxCalls":         "requests of our own",
	"client.maxMessage":       "requests of our own",
	"client.maxPassword":      "a file of the operator",
	"client.maxWaiting":       "requests of our own",
	"members.maxConns":        "requests of our own",
	"members.maxHeader":       "a response of another member of the group",
	"members.maxIdle":         "requests of our own",
	"members.maxPage":         "a response of another member of the group",
	"passon.maxFailure":       "a response of another member of the group",
	"passon.maxText":          "a response of another member of the group",
	"etcd.maxFences":          "transactions of our own",
	"etcd.maxOps":             "how our own writes are cut",
	"etcd.maxSize":            "how our own writes are cut",
	"nodes.maxFile":           "a file of our own",
	"rpc.MaxKnown":            "requests of our own",
	"domain.MaxIdentities":    "our own configuration",
	"domain.MaxIdentityName":  "our own configuration",
	"domain.maxPatterns":      "our own configuration",
	"domain.maxSecrets":       "our own configuration",
	"compact.MaxArray":        "fixed by the protocol; parsers allocate by what has arrived",
	"compact.MaxUint":         "fixed by the protocol",
	"dht.maxGoodbyes":         "requests of our own",
	"dht.maxGoodbyeDials":     "of this process",
	"muxscrape.MaxPiece":      "how bodies are cut",
	"muxscrape.MaxStart":      "how much of MaxWindows is granted at the begin of bodies",
	"muxscrape.maxCredit":     "how far a number is counted",
	"muxscrape.maxWithin":     "a time that only we wait for",
	"dhtnet.maxChunk":         "how our own writes are cut",
	"domain.MaxDamages":       "damaged files of our own",
	"filesd.maxFile":          "files of the operator",
	"filesd.maxPairs":         "files of the operator",
	"filesd.maxTargets":       "files of the operator",
	"domain.MaxAddresses":     "an invite comes from the operator",
	"domain.MaxTURNServers":   "an invite comes from the operator",
	"pipes.maxProxyAnswer":    "a proxy is the operator's",
	"domain.maxHostName":      "our own configuration, or an invite, which comes from the operator",
	"domain.maxInviteFields":  "an invite comes from the operator",
	"domain.maxInviteNode":    "an invite comes from the operator",
	"domain.maxInviteNodes":   "an invite comes from the operator",
	"domain.maxInviteText":    "an invite comes from the operator",
	"domain.maxPlainFrame":    "fixed by the protocol, see secret.MaxMessage",
	"hosts.maxName":           "fixed by the DNS; longer names are cut in logs",
	"hyperdht.maxLookupPeers": "fixed by the protocol",
	"mux.MaxFrame":            "fixed by the protocol, see secret.MaxMessage",
	"mux.MaxPayload":          "fixed by the protocol, see secret.MaxMessage",
	"muxrpc.maxPayload":       "mux.MaxPayload",
	"noise.MaxMessage":        "fixed by the protocol; a handshake comes in one datagram",
	"hyperdht.maxDefer":       "a pace of our own",
	"hyperdht.maxDriftChecks": "pings of our own, after punches of our own",
	"hyperdht.maxHold":        "a pace of our own",
	"hyperdht.maxReopens":     "our own sockets",
	"hyperdht.maxLate":        "when our own packets change ways",
	"hyperdht.maxStalls":      "when our own packets change ways",
	"hyperdht.maxYoung":       "how often the announcer repeats itself",
	"hyperdht.maxWayRecords":  "the sum of limits that have rows",
	"hyperdht.maxValidations": "a pace of our own",
	"records.maxBumpDrift":    "a time, fixed by the protocol",
	"exporter.maxCredential":  "a file of the operator",
	"exporter.MaxPage":        "the operator's own configuration",
	"exporter.maxHeader":      "answers of the operator's own exporter",
	"exporter.maxStatus":      "answers of the operator's own exporter",
	"families.maxHead":        "a page of the operator's own exporter",
	"families.maxLine":        "a page of the operator's own exporter",
	"source.maxFailure":       "an answer of this process",
	"stream.MaxMessage":       "udx.MaxMessage",
	"stun.maxName":            "our own configuration",
	"stun.maxServers":         "our own configuration",
	"stun.maxUnknown":         "one answer's size",
	"turn.maxBatch":           "requests of our own",
	"turn.maxFresh":           "requests of our own",
	"turn.maxLife":            "how often we ask",
	"turn.maxRetry":           "a pause of our own",
	"turn.maxServers":         "our own configuration",
	"turn.maxURI":             "our own configuration",
	"targets.maxFile":         "a file of our own",
	"udx.MaxDatagram":         "fixed by the protocol, see udp.maxDatagram",
	"udx.MaxMessage":          "fixed by the protocol, see udp.maxDatagram",
	"udx.MaxSACKBlocks":       "what we send",
	"udx.maxMTU":              "fixed by the protocol",
	"udx.maxRTO":              "fixed by the protocol",
	"wire.MaxDelayedPing":     "see rpc.maxPingDelay",
}

var maxName = regexp.MustCompile(`^[mM]ax[A-Z]`)

// A limit that is missing in the table is not compared with the others.
func TestEveryLimitIsInTheTable(t *testing.T) {
	rows := map[string]bool{}
	for _, b := range bounds() {
		rows[b.Name] = true
	}
	imported := map[string]bool{} // peers cannot reach what no package imports
	for _, p := range packages(t) {
		for _, f := range p.code {
			for _, path := range f.imports() {
				imported[strings.TrimPrefix(path, "./")] = true
			}
		}
	}
	used := map[string]bool{}
	for _, p := range packages(t) {
		if !imported[p.path] || anyMatches(onlyTests, p.path) || under(p.path, "adapters/simnet") || !anyMatches([]string{"hyperdht/...", "adapters/...", "app", "domain"}, p.path) {
			continue
		}
		for _, f := range p.code {
			for _, c := range constantsOf(f) {
				name := path.Base(p.path) + "." + c
				if !maxName.MatchString(c) || rows[name] {
					continue
				}
				if noBounds[name] == "" {
					t.Errorf("%s: %s has no row in the table of bounds: add one to %s/bounds.go, or say in noBounds why it is none", f.name, name, p.path)
				}
				used[name] = true
			}
		}
	}
	for name := range noBounds {
		if !used[name] {
			t.Errorf("%q is excepted for nothing", name)
		}
	}
}

// constantsOf lists the constants of a file's top level, and the variables that stand for them.
func constantsOf(f file) (names []string) {
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST && g.Tok != token.VAR {
			continue
		}
		for _, s := range g.Specs {
			for _, n := range s.(*ast.ValueSpec).Names {
				names = append(names, n.Name)
			}
		}
	}
	return names
}

// literals is the set of string literals in the code of packages.
func literals(t *testing.T, paths ...string) map[string]bool {
	all := map[string]bool{}
	for _, p := range packages(t) {
		if !slices.Contains(paths, p.path) {
			continue
		}
		for _, f := range p.code {
			ast.Inspect(f.File, func(n ast.Node) bool {
				if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
					all[strings.Trim(l.Value, `"`)] = true
				}
				return true
			})
		}
	}
	return all
}
