// Command fuzz runs the fuzz targets of the module in turn, and judges steps as well as panics and memory.
//
//	go run ./sim/cmd/fuzz -for 1h                      all targets, an hour in all
//	go run ./sim/cmd/fuzz -for 10m -run udx            those whose package and name match
//	go run ./sim/cmd/fuzz -for 0                       the kept inputs only
//	go run ./sim/cmd/fuzz -replay hyperdht/internal/udx.FuzzPair/771e938e4458e983
//
// Each target has a turn. It runs its seeds and the inputs kept in testdata/fuzz, and is then fuzzed: targets of machines
// for longer than targets of parsers. Where the time is too short for all, other targets have a turn in the next run.
// Inputs that reach new code are kept in the build cache, and the next run continues from there.
//
// It compiles the code under test with a call of cost.Step in each function and each loop, so that targets can check steps
// against their bound (package internal/cost). Replay an input with this command, therefore: under go test, a fault that
// consists only of too many steps does not show.
//
// It exits with status 1 if an input fails, and prints target, input and the line that replays it; and with status 2 if a
// target cannot be built or run.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"
)

const (
	module = "github.com/dhtprom/dhtprom"

	// machineShares is the number of shares of the time for a target of a machine; a parser has one.
	machineShares = 4
	// leastTurn is the shortest turn in seconds: a worker starts and looks at the corpus in about one.
	leastTurn = 3
	// minimizeTime bounds the minimization of a failing input.
	minimizeTime = "20s"
)

func main() { os.Exit(start(os.Args[1:], os.Stdout, os.Stderr)) }

// settings are the parsed command line.
type settings struct {
	time     time.Duration
	match    *regexp.Regexp
	replay   string
	parallel int
}

// start runs the program and returns its exit status.
func start(args []string, out, errs io.Writer) int {
	s, err := parse(args, errs)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		err = s.run(out)
	}
	var found findings
	switch {
	case err == nil:
		return 0
	case errors.As(err, &found):
		fmt.Fprintln(errs, "fuzz:", err)
		return 1
	}
	fmt.Fprintln(errs, "fuzz:", err)
	return 2
}

func parse(args []string, errs io.Writer) (*settings, error) {
	s := &settings{}
	flags := flag.NewFlagSet("fuzz", flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.DurationVar(&s.time, "for", time.Minute, "fuzz for this long in all; 0 runs the kept inputs only")
	pattern := flags.String("run", "", "fuzz the targets whose package.Name matches this regular expression")
	flags.StringVar(&s.replay, "replay", "", "run one kept input, package.Name/FILE")
	flags.IntVar(&s.parallel, "parallel", runtime.GOMAXPROCS(0), "number of processes that fuzz a target")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if s.time != 0 && s.time < leastTurn*time.Second {
		return nil, fmt.Errorf("-for=%v: want at least %d s, or 0", s.time, leastTurn)
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if s.replay != "" {
		name, _, ok := strings.Cut(s.replay[strings.LastIndex(s.replay, ".")+1:], "/")
		if !ok {
			return nil, fmt.Errorf("-replay=%s: want package.Name/FILE", s.replay)
		}
		*pattern = "^" + regexp.QuoteMeta(s.replay[:strings.LastIndex(s.replay, ".")+1]+name) + "$"
	}
	match, err := regexp.Compile(*pattern)
	if err != nil {
		return nil, fmt.Errorf("-run: %w", err)
	}
	s.match = match
	return s, nil
}

// findings is the error of inputs that fail.
type findings []string

func (f findings) Error() string {
	return fmt.Sprintf("%d findings:\n\n%s", len(f), strings.Join(f, "\n\n"))
}

func (s *settings) run(out io.Writer) error {
	root, err := goOutput("list", "-m", "-f", "{{.Dir}}")
	if err != nil {
		return err
	}
	cache, err := goOutput("env", "GOCACHE")
	if err != nil {
		return err
	}
	targets, err := findTargets(root, s.match)
	if err != nil {
		return err
	}
	if len(targets) == 0 {
		return fmt.Errorf("no fuzz target matches %q", s.match)
	}
	dir, err := os.MkdirTemp("", "fuzz")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	overlay, err := writeOverlay(root, dir)
	if err != nil {
		return fmt.Errorf("counting steps: %w", err)
	}
	b := &binaries{root: root, dir: dir, cache: filepath.Join(cache, "fuzz"), overlay: overlay}

	// Where the time is too short for all, the minute decides which targets have a turn.
	turns := schedule(targets, int(s.time.Seconds()), int(time.Now().Unix()/60))
	if s.replay != "" || s.time == 0 {
		turns = turns[:0]
		for _, t := range targets {
			turns = append(turns, turn{t, 0})
		}
	}
	var found findings
	built := ""
	for _, t := range turns {
		if t.pkg != built {
			if err := b.build(t.pkg); err != nil {
				return err
			}
			built = t.pkg
		}
		line := "kept inputs run"
		f, err := b.replay(t.target, s.replay)
		if f == nil && err == nil && t.time > 0 {
			f, line, err = b.fuzz(t, s.parallel)
		}
		if err != nil {
			return fmt.Errorf("%v: %w", t.target, err)
		}
		fmt.Fprintf(out, "%-50s %4d s  %s\n", t.target, t.time, line)
		if f != nil {
			fmt.Fprintln(out, f)
			found = append(found, f.summary())
		}
	}
	if len(found) > 0 {
		return found
	}
	return nil
}

// goOutput runs the go command and returns its output line.
func goOutput(args ...string) (string, error) {
	var errs bytes.Buffer
	cmd := exec.Command("go", args...)
	cmd.Stderr = &errs
	b, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, errs.String())
	}
	return strings.TrimSpace(string(b)), nil
}

// binaries are the compiled targets, one for each package.
type binaries struct {
	root, dir string
	cache     string // of inputs that reached new code
	overlay   string
}

func (b *binaries) name(pkg string) string {
	return filepath.Join(b.dir, strings.ReplaceAll(pkg, "/", "+")+".test")
}

func (b *binaries) build(pkg string) error {
	// The fuzzer is guided by the coverage of the module's own code. Go test -fuzz would instrument the standard library as
	// well, which takes minutes to compile and finds no fault of this module.
	cmd := exec.Command("go", "test", "-c", "-vet=off", "-gcflags="+module+"/...=-d=libfuzzer", "-overlay="+b.overlay, "-o", b.name(pkg), "./"+pkg)
	cmd.Dir = b.root
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the targets of %s: %w\n%s", pkg, err, text)
	}
	return nil
}

// command is a run of the test binary of a target.
func (b *binaries) command(t target, args ...string) *exec.Cmd {
	cmd := exec.Command(b.name(t.pkg), append(args, "-test.paniconexit0")...)
	cmd.Dir = filepath.Join(b.root, filepath.FromSlash(t.pkg))
	return cmd
}

// finding is an input that fails.
type finding struct {
	target
	input  string // its name in testdata/fuzz, or of a seed
	output string
}

func (f *finding) replay() string {
	return fmt.Sprintf("go run ./sim/cmd/fuzz -replay %s/%s", f.target, f.input)
}

func (f *finding) String() string { return f.output + "\n" + f.summary() }

func (f *finding) summary() string {
	text := f.target.String() + " fails"
	if f.input == "" {
		return text + ": see its output above"
	}
	return fmt.Sprintf("%s with %s/testdata/fuzz/%s/%s\nreplay: %s", text, f.pkg, f.name, f.input, f.replay())
}

// replay runs the kept inputs of a target, or one of them.
func (b *binaries) replay(t target, one string) (*finding, error) {
	run := "^" + t.name + "$"
	if _, file, ok := strings.Cut(one, t.String()+"/"); ok {
		run += "/^" + regexp.QuoteMeta(file) + "$"
	}
	text, err := b.command(t, "-test.run="+run).CombinedOutput()
	if err == nil {
		return nil, nil
	}
	return &finding{t, failedInput(t, text), string(text)}, exited(err)
}

// exited returns all errors except that of a program that exited with a status.
func exited(err error) error {
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.Exited() {
		return nil
	}
	return err
}

var (
	// outOfTime matches the failure that package testing reports for a correct target when the time is over while it starts
	// a worker or waits for one (golang.org/issue/75804, fixed in Go 1.27).
	outOfTime = regexp.MustCompile(`--- FAIL: \w+ \(.*\)\n\s*context deadline exceeded\n\s*FAIL`)
	written   = regexp.MustCompile(`(?m)^\s*Failing input written to testdata/fuzz/\w+/(\S+)`)
	progress  = regexp.MustCompile(`fuzz: elapsed: .*execs: (\d+) .*new interesting: (\d+) \(total: (\d+)\)`)
)

// failedInput returns the name of the failed input from the output of a test.
func failedInput(t target, output []byte) string {
	if m := written.FindSubmatch(output); m != nil {
		return string(m[1])
	}
	if m := regexp.MustCompile(`(?:--- FAIL: |seed corpus entry: )` + t.name + `/(\S+)`).FindSubmatch(output); m != nil {
		return string(m[1])
	}
	return ""
}

// fuzz runs one turn and returns a line about it.
func (b *binaries) fuzz(t turn, parallel int) (*finding, string, error) {
	cmd := b.command(t.target, "-test.run=^$", "-test.fuzz=^"+t.name+"$", "-test.fuzztime="+strconv.Itoa(t.time)+"s",
		"-test.fuzzminimizetime="+minimizeTime, "-test.fuzzcachedir="+filepath.Join(b.cache, module, t.pkg),
		"-test.parallel="+strconv.Itoa(parallel))
	text, err := cmd.CombinedOutput()
	line := "no input was run"
	if all := progress.FindAllSubmatch(text, -1); len(all) > 0 {
		last := all[len(all)-1]
		line = fmt.Sprintf("%s runs, %s new of %s inputs", last[1], last[2], last[3])
	}
	f := &finding{t.target, failedInput(t.target, text), string(text)}
	if err == nil || f.input == "" && outOfTime.Match(text) {
		return nil, line, nil
	}
	return f, line, exited(err)
}
