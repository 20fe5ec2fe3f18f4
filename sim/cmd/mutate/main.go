// Command mutate breaks the code in one place at a time and checks that a test fails. Code that can be broken without a
// failing test is not covered.
//
//	go run ./sim/cmd/mutate            mutations by hand: one line each, against scenarios, as a table
//	go run ./sim/cmd/mutate -only udx  those whose name contains a word
//	go run ./sim/cmd/mutate -drawn 300 -seed 1 -log FILE
//	                                   mutations by rule, drawn from all places of hyperdht, app, domain and adapters
//	go run ./sim/cmd/mutate -drawn 50 -only " arm "
//	                                   those of one rule; or of a package, or of a function
//
// By hand, a copy of the tree is broken and scenarios are played until one of them fails.
//
// By rule, a comparison is inverted (flip), a bound is off by one (bound), the condition of an if that only leaves is never
// true (guard), a timer or a deadline is not armed (arm) or not stopped (stop), an error is ignored or nil (error). A seed
// draws among all places; the names of mutations are package, function, rule and ordinal, so that edits elsewhere change
// neither draw nor judgements. All drawn ones are built into the tests at once, each behind a switch, by the go command's
// overlay. The package's own tests are run first, if they reach the place, then those of packages that import it, nearest
// first, then some scenarios. A survivor either gets a test, or a reason in judged.txt why no test can fail.
//
// It exits with status 1 if a mutation survived. sim/MUTATIONS.md has the tables and the conclusions.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/sim"
)

// mutation is one broken line.
type mutation struct {
	name  string
	file  string // from the top of the tree
	old   string // occurs exactly once
	new   string
	suite string // the scenario that should fail, perhaps with more arguments; it is tried first
}

func main() {
	var d drawing
	flag.StringVar(&d.only, "only", "", "play those whose name or file contains this")
	flag.IntVar(&d.count, "drawn", 0, "draw so many mutations by rule, instead of those by hand")
	flag.Uint64Var(&d.seed, "seed", 1, "of the draw")
	flag.StringVar(&d.list, "list", "", "draw those that this file names, one a line")
	flag.StringVar(&d.log, "log", "", "a file for the verdicts; those that it has of an earlier run are taken over, except for survivors")
	flag.BoolVar(&d.own, "own", false, "play the drawn ones by the tests of their own packages only")
	flag.Parse()
	run := func() error { return runByHand(d.only) }
	if d.count > 0 {
		run = func() error { return runDrawn(d, os.Stdout) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

func runByHand(only string) error {
	root, err := top()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := copyTree(root, dir); err != nil {
		return err
	}
	if red, why, err := noticed(dir, "slice"); err != nil || red {
		return fmt.Errorf("the code is broken before any mutation: %s %w", why, err)
	}
	survivors, misfits := 0, 0
	fmt.Printf("| broken | in | red | because |\n|---|---|---|---|\n")
	for _, m := range mutations {
		if !strings.Contains(m.name+" "+m.file, only) {
			continue
		}
		suite, why, err := m.try(dir)
		if errors.Is(err, errMisfit) {
			misfits++
			fmt.Printf("| %s | %s | **does not fit any more** | |\n", m.name, m.file)
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		if suite == "" {
			survivors++
			suite, why = "**none**", ""
		}
		fmt.Printf("| %s | %s | %s | %s |\n", m.name, m.file, suite, why)
	}
	if survivors+misfits > 0 {
		return fmt.Errorf("%d mutations survived, %d do not fit the code any more", survivors, misfits)
	}
	return nil
}

// top finds the root of the tree.
func top() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("finding the module: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// copyTree copies what is needed to build the scenarios.
func copyTree(root, dir string) error {
	return filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if base := entry.Name(); below != "." && (strings.HasPrefix(base, ".") || base == "node_modules" || base == "testdata") {
				return filepath.SkipDir
			}
			return os.MkdirAll(filepath.Join(dir, below), 0o755)
		}
		if base := entry.Name(); base != "go.mod" && base != "go.sum" && (filepath.Ext(base) != ".go" || strings.HasSuffix(base, "_test.go")) {
			return nil
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, below), b, 0o644)
	})
}

// errMisfit means that the code no longer contains the mutation's text.
var errMisfit = errors.New("does not fit")

// try breaks the line in the copy, plays until a scenario fails, and restores it.
func (m *mutation) try(dir string) (suite, why string, err error) {
	name := filepath.Join(dir, m.file)
	whole, err := os.ReadFile(name)
	if err != nil {
		return "", "", err
	}
	if n := bytes.Count(whole, []byte(m.old)); n != 1 {
		return "", "", fmt.Errorf("%w: %q stands %d times in %s", errMisfit, m.old, n, m.file)
	}
	if err := os.WriteFile(name, bytes.Replace(whole, []byte(m.old), []byte(m.new), 1), 0o644); err != nil {
		return "", "", err
	}
	defer func() { err = errors.Join(err, os.WriteFile(name, whole, 0o644)) }()
	suites := []string{m.suite}
	for _, s := range sim.Scenarios() {
		if !s.Large && s.Name != m.suite {
			suites = append(suites, s.Name)
		}
	}
	for _, suite := range suites {
		red, why, err := noticed(dir, suite)
		if err != nil {
			return "", "", err
		}
		if red {
			return suite, why, nil
		}
	}
	return "", "", nil
}

// patience bounds the real time of a scenario of a broken tree: some mutations never end.
const patience = 3 * time.Minute

// unplayable is the status of dhtprom-sim for invalid options, and of programs that panic.
const unplayable = 2

// noticed plays a scenario of the copy and returns its first failure.
func noticed(dir, suite string) (red bool, why string, err error) {
	bin := filepath.Join(dir, "dhtprom-sim")
	build := exec.Command("go", "build", "-o", bin, "./sim/cmd/dhtprom-sim")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		return false, "", fmt.Errorf("%w: %s", err, out)
	}
	var out bytes.Buffer
	play := exec.Command(bin, append([]string{"-scenario"}, strings.Fields(suite)...)...)
	play.Stdout, play.Stderr = &out, &out
	if err := play.Start(); err != nil {
		return false, "", err
	}
	timer := time.AfterFunc(patience, func() { _ = play.Process.Kill() })
	err = play.Wait()
	if !timer.Stop() {
		return true, fmt.Sprintf("it did not end within %v", patience), nil
	}
	for line := range strings.Lines(out.String()) {
		if failure, ok := strings.CutPrefix(strings.TrimSpace(line), "! "); ok {
			return true, strings.ReplaceAll(failure, "|", "/"), nil
		}
	}
	said := strings.TrimSpace(out.String())
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == unplayable && !strings.Contains(said, "panic: ") {
		return false, "", fmt.Errorf("%s: %s", suite, said)
	}
	return err != nil, said, nil
}
