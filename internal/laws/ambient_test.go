package laws

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// ambientAllowed are the packages that use the operating system directly. Everywhere else time, randomness, sockets and
// concurrency come from ports/host, or a run could not be replayed from its seed.
func ambientAllowed(path string) (ok bool, why string) {
	switch {
	case under(path, "cmd"), under(path, "bench"), under(path, "examples"), under(path, "sim/cmd"):
		return true, "programs"
	case path == "ports/bridge", path == "ports/scrapeio":
		return true, "where goroutines wait for the loop"
	case under(path, "hyperdht/dhtnet"):
		return true, "the blocking face"
	case path == ".", path == "client", path == "scraper", path == "node", path == "node/turnserver", path == "internal/part":
		return true, "the front door, whose callers wait"
	case path == "sim/parallel":
		return true, "it runs lanes of a net, which share nothing"
	case path == "sim/hugepages":
		return true, "the kernel is asked for memory of another kind, which changes no run"
	case under(path, "interop"), under(path, "spec/vectors"), under(path, "internal/cost"), under(path, "internal/golden"), under(path, "internal/api"), under(path, "internal/states/statestest"), under(path, "ports/host/hosttest"), under(path, "ports/portstest/inbox"):
		return true, "tests"
	case path == "internal/procs":
		return true, "the scheduler of a program"
	case path == "internal/tempfile", path == "internal/privatefile", path == "internal/tlsfiles", path == "keyfile":
		return true, "files of adapters and programs"
	case under(path, "adapters"):
		// These run on the loop; all other adapters are the real world.
		return !underAny(path, "adapters/simnet", "adapters/dht", "adapters/portmap", "adapters/stun", "adapters/turn"), "the real world"
	}
	return false, ""
}

// ambientImports are packages with access to the operating system. A path includes everything below it.
var ambientImports = map[string]string{
	"sync":          "the loop needs no locks",
	"context":       "waits have timers",
	"os":            "the machine is behind ports",
	"io/ioutil":     "the machine is behind ports",
	"syscall":       "the machine is behind ports",
	"runtime":       "the machine is behind ports",
	"net":           "sockets come from host.Host",
	"crypto/rand":   "randomness comes from host.Host",
	"math/rand":     "randomness comes from host.Host",
	"log":           "machines trace events",
	"unsafe":        "nothing here is worth it",
	"plugin":        "nothing here is worth it",
	"flag":          "configuration is an argument",
	"expvar":        "no globals",
	"testing":       "this is not a test",
	"golang.org/x":  "I/O of any kind is an adapter's",
	"embed":         "the machine is behind ports",
	"path/filepath": "the machine is behind ports",
}

// ambientExcept are the harmless ones among them.
var ambientExcept = []string{"net/netip", "net/url", "golang.org/x/crypto", "math/rand/v2", "log/slog"}

// ambientHere are exceptions of one package, each with its reason.
var ambientHere = map[string]string{
	"app context":                      "slog hands one to its handlers; nothing waits on it",
	"doctor context":                   "Run waits for the loop, in package bridge; an examination knows no context",
	"hyperdht/internal/rpc sync":       "sync.Pool keeps memory of lookups and messages that have ended; none depends on which it gets",
	"hyperdht/internal/secret runtime": "GOARCH, a constant, tells which cipher is the faster one",
	"ports/portstest testing":          "a test suite",
	"ports/kv/kvtest testing":          "a test suite",
	"ports/pipe/pipetest testing":      "a test suite",
	"ports/host a channel":             "Loop.Closed, for goroutines that wait for the loop",
	"adapters/simnet a channel":        "Loop.Closed, and nothing waits for it",
	"ports/portstest a channel":        "Loop.Closed, and nothing waits for it",
}

// clockReads are the functions of package time that read a clock or wait. The rest is arithmetic.
var clockReads = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}

// seededRand are the names of math/rand/v2 without hidden state.
var seededRand = []string{"New", "NewChaCha8", "ChaCha8", "NewPCG", "PCG", "Rand", "Source"}

// slogGlobal are the functions of log/slog that write to the process's logger. Values with a log form are allowed everywhere,
// loggers in app.
var slogGlobal = []string{
	"Default", "SetDefault", "Log", "LogAttrs", "Debug", "DebugContext", "Info", "InfoContext", "Warn", "WarnContext",
	"Error", "ErrorContext", "With", "NewLogLogger",
}

func TestNoAmbientWorldOutsideTheEdges(t *testing.T) {
	checked := 0
	for _, p := range packages(t) {
		if ok, _ := ambientAllowed(p.path); ok {
			continue
		}
		for _, f := range p.code {
			checked++
			for _, imported := range f.imports() {
				if why := ambientImport(imported); why != "" && ambientHere[p.path+" "+imported] == "" {
					t.Errorf("%s imports %s: %s", f.name, imported, why)
				}
			}
			for _, fault := range ambientUses(f) {
				if ambientHere[p.path+" "+fault.what] == "" {
					t.Errorf("%s: %s", fault.at, fault.what)
				}
			}
		}
	}
	if checked < 40 {
		t.Errorf("checked %d files only", checked)
	}
}

func ambientImport(imported string) string {
	if underAny(imported, ambientExcept...) {
		return ""
	}
	for path, why := range ambientImports {
		if under(imported, path) {
			return why
		}
	}
	return ""
}

// ambientUse is a construct that only the allowed packages may use.
type ambientUse struct{ at, what string }

// ambientUses lists those of a file.
func ambientUses(f file) []ambientUse {
	var faults []ambientUse
	fault := func(n ast.Node, format string, args ...any) {
		faults = append(faults, ambientUse{at(n), fmt.Sprintf(format, args...)})
	}
	clock, rand, print, slog := f.named("time"), f.named("math/rand/v2"), f.named("fmt"), f.named("log/slog")
	ast.Inspect(f.File, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			fault(n, "a go statement")
		case *ast.ChanType:
			fault(n, "a channel")
		case *ast.SelectStmt:
			fault(n, "a select")
		case *ast.SendStmt:
			fault(n, "a send on a channel")
		case *ast.UnaryExpr:
			if n.Op == token.ARROW {
				fault(n, "a receive from a channel")
			}
		case *ast.CallExpr:
			if id, ok := n.Fun.(*ast.Ident); ok && (id.Name == "print" || id.Name == "println") {
				fault(n, "printing")
			}
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			switch {
			case !ok:
			case clock != "" && x.Name == clock && slices.Contains(clockReads, n.Sel.Name):
				fault(n, "time.%s", n.Sel.Name)
			case rand != "" && x.Name == rand && !slices.Contains(seededRand, n.Sel.Name):
				fault(n, "rand.%s draws from hidden state", n.Sel.Name)
			case slog != "" && x.Name == slog && (slices.Contains(slogGlobal, n.Sel.Name) || n.Sel.Name == "Logger" && !under(f.name, "app")):
				fault(n, "slog.%s: machines trace events", n.Sel.Name)
			case print != "" && x.Name == print && (strings.HasPrefix(n.Sel.Name, "Print") || strings.HasPrefix(n.Sel.Name, "Scan")):
				fault(n, "fmt.%s", n.Sel.Name)
			}
		}
		return true
	})
	return faults
}

func TestAmbientUsesAreSeen(t *testing.T) {
	tests := []struct{ name, code string }{
		{"go statement", `go f()`},
		{"channel", `var c chan int; _ = c`},
		{"receive", `<-f`},
		{"send", `f <- 1`},
		{"select", `select {}`},
		{"clock", `time.Now()`},
		{"timer passed as a value", `f(time.AfterFunc)`},
		{"renamed clock", `clock.Sleep(1)`},
		{"hidden randomness", `rand.Uint64()`},
		{"printing", `fmt.Println()`},
		{"builtin printing", `println()`},
		{"global logger", `slog.Info("x")`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			imports := `import ("time"; clock "time"; "math/rand/v2"; "fmt"; "log/slog")`
			if strings.Contains(test.code, "clock.") {
				imports = `import clock "time"`
			}
			parsed, err := parser.ParseFile(positions, "x.go", "package x\n"+imports+"\nfunc x() {"+test.code+"}", 0)
			if err != nil {
				t.Fatal(err)
			}
			if len(ambientUses(file{"x.go", parsed})) == 0 {
				t.Errorf("%s passes", test.code)
			}
		})
	}
}

// Unused exceptions are holes.
func TestAmbientExceptionsAreNeeded(t *testing.T) {
	needed := map[string]bool{}
	for _, p := range packages(t) {
		for _, f := range p.code {
			for _, imported := range f.imports() {
				needed[p.path+" "+imported] = true
			}
			for _, use := range ambientUses(f) {
				needed[p.path+" "+use.what] = true
			}
		}
	}
	for exception := range ambientHere {
		if !needed[exception] {
			t.Errorf("the exception %q is not used", exception)
		}
	}
}
