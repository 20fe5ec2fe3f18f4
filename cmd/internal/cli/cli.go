// Package cli has the command line of dhtprom's programs: flags in Prometheus's style, each with an environment variable,
// one-line errors, exit codes, signals.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"text/template"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/common/version"

	"github.com/dhtprom/dhtprom/internal/procs"
)

// Exit codes.
const (
	OK     = 0
	Failed = 1 // the program failed
	Usage  = 2 // the command line is invalid
)

// envPrefix starts the environment variable of every flag.
const envPrefix = "DHTPROM_"

// App is a program's flags and commands.
type App struct {
	*kingpin.Application
	Log      promslog.Config
	examples map[string]string // of commands, by their full names; that of the program under the empty one
}

// nameVersion sets the version that is printed, once: tests run several programs at a time.
var nameVersion = sync.OnceFunc(func() { version.Version = Version() })

// New returns a program with the common flags.
func New(name, help string, out io.Writer) *App {
	a := &App{Application: kingpin.New(name, help), examples: map[string]string{}}
	out = lenient{out}
	nameVersion()
	a.UsageTemplate(usageTemplate)
	a.UsageFuncs(template.FuncMap{"Own": a.own, "Example": func(command string) string { return a.examples[command] }})
	a.UsageWriter(out)
	a.ErrorWriter(out)
	a.Version(version.Print(name))
	a.HelpFlag.Short('h')
	a.VersionFlag.NoEnvar()
	a.HelpFlag.NoEnvar()
	a.Log.Level, a.Log.Format = promslog.NewLevel(), promslog.NewFormat()
	levels, formats := strings.Join(promslog.LevelFlagOptions, ", "), strings.Join(promslog.FormatFlagOptions, ", ")
	a.Flag("log.level", "Only log messages of this severity or above. One of: "+levels+".").Default("info").
		SetValue(&checked{flag: "log.level", set: func(s string) error {
			if a.Log.Level.Set(s) != nil {
				return fmt.Errorf("want one of %s, got %q", levels, s)
			}
			return nil
		}})
	a.Flag("log.format", "Format of log messages. One of: "+formats+".").Default("logfmt").
		SetValue(&checked{flag: "log.format", set: func(s string) error {
			if a.Log.Format.Set(s) != nil {
				return fmt.Errorf("want one of %s, got %q", formats, s)
			}
			return nil
		}})
	return a
}

// Example sets the example in the help of a command, by its full name; an empty name is the program itself.
func (a *App) Example(command, example string) { a.examples[command] = example }

// own returns the flags of a command without those of the program.
func (a *App) own(all []*kingpin.FlagModel) (own []*kingpin.FlagModel) {
	for _, f := range all {
		if a.GetFlag(f.Name) == nil {
			own = append(own, f)
		}
	}
	return own
}

// lenient ignores the errors of an output, as those of a pipe whose reader has exited. Kingpin panics on them.
type lenient struct{ io.Writer }

func (l lenient) Write(b []byte) (int, error) {
	_, _ = l.Writer.Write(b)
	return len(b), nil
}

// Version is this build's version: the linker's value, else the module's.
func Version() string {
	if version.Version != "" {
		return version.Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

// left is thrown where kingpin would exit: after --help and --version.
type left struct{}

// ErrHelpShown reports that help or the version was printed.
var ErrHelpShown = errors.New("help was shown")

var notInEnv = regexp.MustCompile(`[^A-Z0-9_]+`)

// EnvName returns the environment variable of a flag.
func EnvName(flag string) string { return envPrefix + inEnv(flag) }

func inEnv(name string) string { return notInEnv.ReplaceAllString(strings.ToUpper(name), "_") }

// twin returns the environment variable to read a flag from: EnvName, or, where that is not set, one that starts with the
// program's name, which the other programs of an image do not read, such as DHTPROM_SCRAPER_WEB_LISTEN_ADDRESS.
func (a *App) twin(flag string) string {
	general := EnvName(flag)
	own := inEnv(a.Name) + "_" + inEnv(flag)
	switch {
	case isSet(general):
		return general
	case isSet(own):
		return own
	case isLink(general):
		return "" // none
	}
	return general
}

func isSet(name string) bool {
	_, set := os.LookupEnv(name)
	return set && !isLink(name)
}

// link is the value that Kubernetes gives DHTPROM_PORT or DHTPROM_SCRAPER_PORT in every pod beside a service called dhtprom or
// dhtprom-scraper. No flag accepts it.
var link = regexp.MustCompile(`^(tcp|udp|sctp)://`)

func isLink(name string) bool { return link.MatchString(os.Getenv(name)) }

var flagInError = regexp.MustCompile(`^--([a-z.-]+): `)

// fromEnv adds the environment variable to an error about its value.
func (a *App) fromEnv(err error, args []string) error {
	if err == nil {
		return nil
	}
	m := flagInError.FindStringSubmatch(err.Error())
	if m == nil {
		return err
	}
	flag := "--" + m[1]
	given := func(arg string) bool { return arg == flag || strings.HasPrefix(arg, flag+"=") }
	if twin := a.twin(m[1]); isSet(twin) && !slices.ContainsFunc(args, given) {
		return fmt.Errorf("%w (from %s in the environment)", err, twin)
	}
	return err
}

// Parse reads the arguments and the environment and returns the command, empty for a program without commands.
func (a *App) Parse(args []string) (command string, err error) {
	a.Terminate(func(int) { panic(left{}) })
	model := a.Model()
	for _, f := range model.Flags {
		if f.Name != "help" && f.Name != "version" && !strings.HasPrefix(f.Name, "help-") && !strings.HasPrefix(f.Name, "completion-") {
			a.GetFlag(f.Name).Envar(a.twin(f.Name))
		}
	}
	for _, c := range model.Commands {
		a.giveTwins(a.GetCommand(c.Name), c)
	}
	defer func() {
		if r := recover(); r != nil {
			if _, help := r.(left); !help {
				panic(r)
			}
			err = ErrHelpShown
		}
	}()
	command, err = a.Application.Parse(args)
	return command, a.fromEnv(err, args)
}

// giveTwins sets the environment variables of the flags of a command and its subcommands.
func (a *App) giveTwins(c *kingpin.CmdClause, m *kingpin.CmdModel) {
	for _, f := range m.Flags {
		c.GetFlag(f.Name).Envar(a.twin(f.Name))
	}
	for _, below := range m.Commands {
		a.giveTwins(c.GetCommand(below.Name), below)
	}
}

// OnHangUp calls f for each SIGHUP, one at a time, until ctx ends.
func OnHangUp(ctx context.Context, f func()) {
	hangUps := make(chan os.Signal, 1)
	signal.Notify(hangUps, syscall.SIGHUP)
	go func() {
		defer signal.Stop(hangUps)
		for {
			select {
			case <-hangUps:
				f()
			case <-ctx.Done():
				return
			}
		}
	}()
}

// stopWithin bounds the stop of every program, from the signal to the exit. Its parts have shorter bounds of their own; this one
// holds even on a busy machine. The documentation promises five seconds.
const stopWithin = 4800 * time.Millisecond

// stopLaterKey is the key of the additional time of a program's stop, in the context of Main.
type stopLaterKey struct{}

// StopLater gives a program more time to stop, in whose context ctx is.
func StopLater(ctx context.Context, more time.Duration) {
	if all, ok := ctx.Value(stopLaterKey{}).(*atomic.Int64); ok {
		all.Add(int64(more))
	}
}

// Main runs a program with a context that SIGINT and SIGTERM cancel. A second signal exits at once, and so does stopWithin. Other
// signals that would end the process are survived, before, during and after the stop: see OnHangUp.
func Main(run func(ctx context.Context, args []string, stdout, stderr io.Writer) int) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	more := &atomic.Int64{}
	ctx = context.WithValue(ctx, stopLaterKey{}, more)
	context.AfterFunc(ctx, func() {
		within := stopWithin + time.Duration(more.Load())
		time.Sleep(within)
		complain(os.Stderr, filepath.Base(os.Args[0]), fmt.Errorf("not stopped within %s: exiting without the remaining goodbyes", within), "")
		os.Exit(Failed)
	})
	signal.Notify(make(chan os.Signal, 1), survived...) // a channel that is full drops what comes
	procs.Adapt(ctx)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// Exit prints a program's error on one line and returns the exit code.
func Exit(name string, err error, stderr io.Writer) int {
	var usage *UsageError
	switch {
	case err == nil, errors.Is(err, ErrHelpShown):
		return OK
	case errors.As(err, &usage):
		complain(stderr, name, usage.Err, ", try --help")
		return Usage
	default:
		complain(stderr, name, err, "")
		return Failed
	}
}

func complain(w io.Writer, name string, err error, hint string) {
	lines := strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' })
	_, _ = fmt.Fprintf(w, "%s: error: %s%s\n", name, strings.Join(lines, "; "), hint)
}

// UsageError is an error in the command line.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }
