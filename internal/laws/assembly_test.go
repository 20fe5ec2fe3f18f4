package laws

import (
	"go/ast"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// makers are the constructors that only the role packages may call, by package: there is one assembly.
var makers = map[string][]string{
	".":                {"NewStack"},
	"adapters/bolt":    {"Open"},
	"adapters/dht":     {"New"},
	"adapters/nodes":   {"New"},
	"adapters/source":  {"Func", "Gatherer", "New"},
	"adapters/stun":    {"New", "NewResponder"},
	"adapters/targets": {"New"},
	"adapters/udp":     {"New"},
	"adapters/web":     {"New"},
	"app":              {"NewClient", "NewScraper", "LogEvents"},
	"hyperdht":         {"New"},
	"hyperdht/dhtnet":  {"New"},
	"ports/bridge":     {"Call", "Do", "Wait"},
}

func TestProgramsAreAssembledByTheFrontDoor(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range packages(t) {
		program := under(p.path, "cmd")
		if !program && !underAny(p.path, "client", "scraper", "node", "doctor", "internal/part", "adapters/web", "adapters/source/exporter") && p.path != "." {
			continue
		}
		for _, f := range p.code {
			for path, names := range makers {
				as := f.named(strings.TrimSuffix(module+"/"+path, "/."))
				if as == "" {
					continue
				}
				ast.Inspect(f.File, func(n ast.Node) bool {
					sel, ok := n.(*ast.SelectorExpr)
					if !ok {
						return true
					}
					if x, ok := sel.X.(*ast.Ident); !ok || x.Name != as || !slices.Contains(names, sel.Sel.Name) {
						return true
					}
					if seen[path+"."+sel.Sel.Name] = true; program {
						t.Errorf("%s: %s.%s is for the packages of the front door: dhtprom, client, scraper, node, doctor", at(sel), path, sel.Sel.Name)
					}
					return true
				})
			}
		}
	}
	// A name that the role packages do not call either is misspelled here, or no longer exists.
	for path, names := range makers {
		for _, name := range names {
			if full := path + "." + name; !seen[full] && full != "app.NewClient" { // groups make clients
				t.Errorf("no package of the front door calls %s", full)
			}
		}
	}
}

// processSettings are functions that change the whole process.
var processSettings = map[string][]string{
	"runtime":       {"GOMAXPROCS"},
	"runtime/debug": {"SetGCPercent", "SetMemoryLimit", "SetMaxThreads", "SetMaxStack"},
}

// The garbage collector and the scheduler belong to the programs: a library that sets them decides for the service that embeds it.
func TestLibrariesChangeNoProcessSettings(t *testing.T) {
	for _, p := range packages(t) {
		if underAny(p.path, "cmd", "bench", "interop", "sim/cmd", "internal/cost") {
			continue
		}
		for _, f := range p.code {
			for path, functions := range processSettings {
				as := f.named(path)
				ast.Inspect(f.File, func(n ast.Node) bool {
					if e, ok := n.(ast.Expr); ok && as != "" && slices.ContainsFunc(functions, func(name string) bool { return isSelector(e, as, name) }) {
						t.Errorf("%s: a setting of the process, which is for programs", at(n))
					}
					return true
				})
			}
		}
	}
}

// A dot import hides whose names a file uses from this law and the others.
func TestNoDotImports(t *testing.T) {
	for _, p := range packages(t) {
		for _, f := range slices.Concat(p.code, p.tests) {
			for _, spec := range f.Imports {
				if spec.Name != nil && spec.Name.Name == "." {
					t.Errorf("%s: a dot import of %s", at(spec), spec.Path.Value)
				}
			}
		}
	}
}

// The parts of the assembly come from their constructors, so programs do not compose them by literals either.
var composed = map[string][]string{
	"app":           {"Client", "Group", "Scraper", "Session"},
	"hyperdht":      {"Node"},
	"adapters/dht":  {"Transport"},
	"adapters/udp":  {"Host"},
	"adapters/bolt": {"Store"},
}

func TestProgramsComposeNoPartsByLiterals(t *testing.T) {
	for _, p := range packages(t) {
		if !under(p.path, "cmd") {
			continue
		}
		for _, f := range p.code {
			for path, types := range composed {
				as := f.named(module + "/" + path)
				ast.Inspect(f.File, func(n ast.Node) bool {
					if lit, ok := n.(*ast.CompositeLit); ok && as != "" && lit.Type != nil {
						for _, typ := range types {
							if isSelector(lit.Type, as, typ) {
								t.Errorf("%s: a literal of %s.%s", at(n), path, typ)
							}
						}
					}
					return true
				})
			}
		}
	}
}

// linked are the modules linked by a service that embeds the packages of a role, besides this one and the standard library.
var linked = map[string]string{
	".": `
		filippo.io/edwards25519
		github.com/flynn/noise
		github.com/pion/dtls/v2
		github.com/pion/logging
		github.com/pion/stun/v2
		github.com/pion/transport/v2
		github.com/pion/transport/v3
		golang.org/x/crypto
		golang.org/x/net
		golang.org/x/sys
	`,
	"node": `
		filippo.io/edwards25519
		github.com/flynn/noise
		github.com/pion/dtls/v2
		github.com/pion/logging
		github.com/pion/stun/v2
		github.com/pion/transport/v2
		github.com/pion/transport/v3
		golang.org/x/crypto
		golang.org/x/net
		golang.org/x/sys
	`,
	"client": `
		filippo.io/edwards25519
		github.com/beorn7/perks
		github.com/cespare/xxhash/v2
		github.com/flynn/noise
		github.com/klauspost/compress
		github.com/munnerz/goautoneg
		github.com/pandatix/go-abnf
		github.com/pion/dtls/v2
		github.com/pion/logging
		github.com/pion/stun/v2
		github.com/pion/transport/v2
		github.com/pion/transport/v3
		github.com/prometheus/client_golang
		github.com/prometheus/client_model
		github.com/prometheus/common
		github.com/prometheus/procfs
		golang.org/x/crypto
		golang.org/x/net
		golang.org/x/sys
		google.golang.org/protobuf
	`,
	"client adapters/source/exporter": `
		filippo.io/edwards25519
		github.com/beorn7/perks
		github.com/cespare/xxhash/v2
		github.com/flynn/noise
		github.com/golang-jwt/jwt/v5
		github.com/google/uuid
		github.com/jpillora/backoff
		github.com/klauspost/compress
		github.com/munnerz/goautoneg
		github.com/mwitkow/go-conntrack
		github.com/pandatix/go-abnf
		github.com/pion/dtls/v2
		github.com/pion/logging
		github.com/pion/stun/v2
		github.com/pion/transport/v2
		github.com/pion/transport/v3
		github.com/prometheus/client_golang
		github.com/prometheus/client_model
		github.com/prometheus/common
		github.com/prometheus/procfs
		go.yaml.in/yaml/v2
		golang.org/x/crypto
		golang.org/x/net
		golang.org/x/oauth2
		golang.org/x/sys
		golang.org/x/text
		google.golang.org/protobuf
	`,
	"scraper": `
		filippo.io/edwards25519
		github.com/beorn7/perks
		github.com/cespare/xxhash/v2
		github.com/flynn/noise
		github.com/klauspost/compress
		github.com/munnerz/goautoneg
		github.com/pandatix/go-abnf
		github.com/pion/dtls/v2
		github.com/pion/logging
		github.com/pion/stun/v2
		github.com/pion/transport/v2
		github.com/pion/transport/v3
		github.com/prometheus/client_golang
		github.com/prometheus/client_model
		github.com/prometheus/common
		github.com/prometheus/procfs
		go.etcd.io/bbolt
		golang.org/x/crypto
		golang.org/x/net
		golang.org/x/sys
		google.golang.org/protobuf
	`,
}

// An embedder of the client links no web server and no store, and the HTTP client for exporters only with package exporter.
func TestEmbeddersLinkNoMoreThanTheirRole(t *testing.T) {
	for role, want := range linked {
		args := []string{"list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}"}
		for _, p := range strings.Fields(role) {
			args = append(args, "./"+p)
		}
		out, err := exec.Command("go", args...).Output()
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Fields(string(out))
		slices.Sort(got)
		got = slices.DeleteFunc(slices.Compact(got), func(m string) bool { return m == module })
		if want := strings.Fields(want); !slices.Equal(got, want) {
			t.Errorf("a service with a %s links\n\t\t%s", role, strings.Join(got, "\n\t\t"))
		}
	}
}
