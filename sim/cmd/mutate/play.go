package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// The results of a mutation: the tests that fail.
const (
	byOwn       = "own tests"
	byImporters = "importers"
	byScenarios = "scenarios"
	byReason    = "equivalent"
	survived    = "survivors"
)

// played are scenarios that reach most of the code in little time, each in turn.
var played = []string{"slice", "restart", "registration", "natmatrix", "hostile", "disk"}

// player runs the tests of an instrumented tree. Each program is built when it is first needed, and run once without a
// mutation: it must pass, and reports which mutations it reaches.
type player struct {
	tree     *tree
	dir      string // of programs and what they write
	overlay  string
	programs map[string]*program
}

// program is a test binary, or a scenario of the simulator.
type program struct {
	name    string
	args    []string
	dir     string
	bin     string
	took    time.Duration // without a mutation
	reached map[int]bool
}

// verdict is the result of one mutation.
type verdict struct {
	numbered
	at     string // file and line
	by     string // one of the above
	reason string // the failed test with its package or scenario, or the judgement
}

// play tries a mutation on the tests that should fail, nearest first; on its own package's only if own is set.
func (pl *player) play(m numbered, own bool) (verdict, error) {
	for _, suite := range pl.tree.suites(m.pkg) {
		by := byImporters
		if suite == m.pkg {
			by = byOwn
		} else if own {
			break
		}
		p, err := pl.tests(suite)
		if err != nil {
			return verdict{}, err
		}
		if reason := p.notices(m.number); reason != "" {
			return verdict{numbered: m, by: by, reason: suite + " " + reason}, nil
		}
	}
	if !own {
		for _, scenario := range played {
			p, err := pl.scenario(scenario)
			if err != nil {
				return verdict{}, err
			}
			if reason := p.notices(m.number); reason != "" {
				return verdict{numbered: m, by: byScenarios, reason: scenario}, nil
			}
		}
	}
	return verdict{numbered: m, by: survived}, nil
}

// tests returns the test binary of a package.
func (pl *player) tests(pkg string) (*program, error) {
	if p := pl.programs[pkg]; p != nil {
		return p, nil
	}
	p := &program{name: pkg, dir: filepath.Join(pl.tree.root, pkg), bin: filepath.Join(pl.dir, strings.ReplaceAll(pkg, "/", "_"))}
	p.args = []string{"-test.failfast"}
	return p, pl.add(pkg, p, "test", "-c", "-vet=off", "-o", p.bin, "./"+pkg)
}

func (pl *player) scenario(name string) (*program, error) {
	if p := pl.programs[name]; p != nil {
		return p, nil
	}
	p := &program{name: name, dir: pl.dir, bin: filepath.Join(pl.dir, "dhtprom-sim"), args: []string{"-scenario", name}}
	return p, pl.add(name, p, "build", "-o", p.bin, "./sim/cmd/dhtprom-sim")
}

// add builds a program and runs it without a mutation.
func (pl *player) add(name string, p *program, command string, args ...string) error {
	build := exec.Command("go", append([]string{command, "-overlay", pl.overlay}, args...)...)
	build.Dir = pl.tree.root
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", name, err, out)
	}
	list := filepath.Join(pl.dir, "reached-"+path.Base(p.bin)+"-"+path.Base(name))
	start := time.Now()
	out, err := p.run(patience, reachedVariable+"="+list)
	if err != nil { // repeat once: tests that depend on the real machine may fail on a busy one
		out, err = p.run(patience, reachedVariable+"="+list)
	}
	if err != nil {
		return fmt.Errorf("%s is red before any mutation: %w\n%s", name, err, out)
	}
	p.took = time.Since(start)
	if p.reached, err = numbers(list); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%s: %v, passes %d of the mutations\n", name, p.took.Round(time.Millisecond), len(p.reached))
	pl.programs[name] = p
	return nil
}

// numbers parses the list of mutations that a program reached.
func numbers(list string) (map[int]bool, error) {
	reached := map[int]bool{}
	b, err := os.ReadFile(list)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for _, field := range strings.Fields(string(b)) {
		n, err := strconv.Atoi(field)
		if err != nil {
			return nil, err
		}
		reached[n] = true
	}
	return reached, nil
}

// notices runs a program with a mutation, if it reaches that, and returns the test that failed.
func (p *program) notices(number int) string {
	if !p.reached[number] {
		return ""
	}
	out, err := p.run(20*time.Second+5*p.took, fmt.Sprintf("%s=%d", switchVariable, number))
	switch {
	case err == nil:
		return ""
	case errors.Is(err, context.DeadlineExceeded):
		return "(does not end)"
	}
	for line := range strings.Lines(string(out)) {
		if _, name, ok := strings.Cut(line, "--- FAIL: "); ok {
			return strings.Fields(name)[0]
		}
	}
	return "(panics)"
}

// memory bounds the memory of a program, in KiB: some mutations allocate without end.
const memory = 8 << 20

// run runs a program until it ends or its time is over.
func (p *program) run(within time.Duration, env string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	limited := []string{"-c", fmt.Sprintf(`ulimit -d %d 2>/dev/null; exec "$0" "$@"`, memory), p.bin}
	cmd := exec.CommandContext(ctx, "sh", append(limited, p.args...)...)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), env)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		return out.Bytes(), ctx.Err()
	}
	return out.Bytes(), err
}
