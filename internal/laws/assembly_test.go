package laws

import (
	"go/ast"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// makers are the constructors that only the role packages may call, by package: there is one assembly.
var makers = map[string][]string{
	".":                    {"NewStack"},
	"adapters/bolt":        {"Open"},
	"adapters/dht":         {"New"},
	"adapters/etcd":        {"New"},
	"adapters/etcd/client": {"Open"},
	"adapters/members":     {"New"},
	"adapters/nodes":       {"New"},
	"adapters/portmap":     {"New"},
	"adapters/source":      {"Func", "Gatherer", "New", "NewCompressor"},
	"adapters/stun":        {"New", "NewResponder"},
	"adapters/targets":     {"New"},
	"adapters/udp":         {"New"},
	"adapters/web":         {"New"},
	"app":                  {"LogEvents", "NewClient", "NewEventLog", "NewScraper", "NewSession"},
	"hyperdht":             {"New"},
	"hyperdht/dhtnet":      {"New", "Start"},
	"ports/bridge":         {"Call", "Do", "Wait"},
}

func TestProgramsAreAssembledByTheFrontDoor(t *testing.T) {
	for _, p := range packages(t) {
		if !under(p.path, "cmd") {
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
					if x, ok := sel.X.(*ast.Ident); ok && x.Name == as && slices.Contains(names, sel.Sel.Name) {
						t.Errorf("%s: %s.%s is for the packages of the front door: dhtprom, client, scraper, node, doctor", at(sel), path, sel.Sel.Name)
					}
					return true
				})
			}
		}
	}
}

// A constructor that is missing in the table is open to programs, and a misspelled name forbids nothing.
func TestMakersAreAllConstructors(t *testing.T) {
	constructor := regexp.MustCompile(`^(New|Open|Start)([A-Z]|$)`)
	declared := map[string]bool{}
	for _, p := range packages(t) {
		names, listed := makers[p.path]
		if !listed {
			continue
		}
		for _, f := range p.code {
			for _, d := range f.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if !ok || fn.Recv != nil {
					continue
				}
				name := fn.Name.Name
				declared[p.path+"."+name] = true
				if constructor.MatchString(name) && !slices.Contains(names, name) && p.path != "." { // programs make the node of the front door
					t.Errorf("%s: %s is a constructor that is missing in the table makers", at(fn), name)
				}
			}
		}
	}
	for path, names := range makers {
		for _, name := range names {
			if !declared[path+"."+name] {
				t.Errorf("%s has no function %s", path, name)
			}
		}
	}
}

// processSettings are functions that change the whole process.
var processSettings = map[string][]string{
	"runtime":       {"GOMAXPROCS", "SetDefaultGOMAXPROCS"},
	"runtime/debug": {"SetGCPercent", "SetMemoryLimit", "SetMaxThreads", "SetMaxStack"},
}

// The garbage collector and the scheduler belong to the programs: a library that sets them decides for the service that embeds it.
func TestLibrariesChangeNoProcessSettings(t *testing.T) {
	for _, p := range packages(t) {
		if underAny(p.path, "cmd", "bench", "interop", "sim/cmd", "internal/cost", "internal/procs") {
			continue
		}
		for _, f := range p.code {
			for path, functions := range processSettings {
				as := f.named(path)
				ast.Inspect(f.File, func(n ast.Node) bool {
					if call, ok := n.(*ast.CallExpr); ok && isSelector(call.Fun, as, "GOMAXPROCS") && isZero(call.Args) {
						return false // it reads
					}
					if e, ok := n.(ast.Expr); ok && as != "" && slices.ContainsFunc(functions, func(name string) bool { return isSelector(e, as, name) }) {
						t.Errorf("%s: a setting of the process, which is for programs", at(n))
					}
					return true
				})
			}
		}
	}
}

// isZero reports whether the only argument of a call is 0.
func isZero(args []ast.Expr) bool {
	if len(args) != 1 {
		return false
	}
	n, ok := args[0].(*ast.BasicLit)
	return ok && n.Value == "0"
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

// The parts of the assembly come from their constructors, so programs compose them in no other way: as a literal, a variable or a
// field. They may have pointers to them.
var composed = map[string][]string{
	"adapters/bolt":    {"Store"},
	"adapters/dht":     {"Transport"},
	"adapters/portmap": {"Client"},
	"adapters/source":  {"Source"},
	"adapters/stun":    {"Client", "Responder"},
	"adapters/udp":     {"Host"},
	"adapters/web":     {"Handler"},
	"app":              {"Client", "EventLog", "Scraper", "Session"},
	"hyperdht":         {"Node", "RelayServer"},
	"hyperdht/dhtnet":  {"Net"},
}

func TestProgramsComposeNoPartsByThemselves(t *testing.T) {
	declared := map[string]bool{}
	for _, p := range packages(t) {
		for _, f := range p.code {
			if composed[p.path] != nil {
				eachStruct(f.File, func(name string, _ *ast.StructType) { declared[p.path+"."+name] = true })
			}
			if !under(p.path, "cmd") {
				continue
			}
			for path, types := range composed {
				as := f.named(module + "/" + path)
				part := func(e ast.Expr) bool {
					return as != "" && slices.ContainsFunc(types, func(name string) bool { return isSelector(e, as, name) })
				}
				ast.Inspect(f.File, func(n ast.Node) bool {
					if star, ok := n.(*ast.StarExpr); ok && part(star.X) {
						return false
					}
					if e, ok := n.(ast.Expr); ok && part(e) {
						t.Errorf("%s: a part of %s, which its constructor makes", at(n), path)
					}
					return true
				})
			}
		}
	}
	for path, types := range composed {
		for _, name := range types {
			if !declared[path+"."+name] {
				t.Errorf("%s has no struct %s", path, name)
			}
		}
	}
}

// linked are the modules linked by a service that embeds the packages of a role, besides this one and the standard library.
var linked = map[string]string{
	"hyperdht/dhtnet adapters/udp": `
		filippo.io/edwards25519
		github.com/flynn/noise
		golang.org/x/crypto
		golang.org/x/sys
	`,
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
