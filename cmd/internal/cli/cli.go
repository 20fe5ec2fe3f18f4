// Package cli is how dhtprom's programs meet their user: flags in Prometheus's style with an environment twin each,
// errors of one line, exit codes, signals.
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
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/common/version"
)

// Exit codes.
const (
	OK     = 0
	Failed = 1 // the program could not do what it was asked to
	Usage  = 2 // it was asked for nonsense
)

// envPrefix starts the environment twin of every flag.
const envPrefix = "DHTPROM_"

// App is a program's flags and commands.
type App struct {
	*kingpin.Application
	Log promslog.Config
}

// New returns a program with the flags that all of them have.
func New(name, help string, out io.Writer) *App {
	a := &App{Application: kingpin.New(name, help)}
	version.Version = Version()
	a.UsageTemplate(usageTemplate)
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

// Version is this build's version: what the linker was told, else the module's.
func Version() string {
	if version.Version != "" {
		return version.Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

// left is thrown where kingpin would end the process: after --help and --version.
type left struct{}

// ErrLeft says that the user asked for help and has it.
var ErrLeft = errors.New("help was given")

var notInEnv = regexp.MustCompile(`[^A-Z0-9_]+`)

// EnvName is the environment twin of a flag.
func EnvName(flag string) string { return envPrefix + inEnv(flag) }

func inEnv(name string) string { return notInEnv.ReplaceAllString(strings.ToUpper(name), "_") }

// twin is the variable to read a flag from: its twin, or, where that is not set, one with the program's name in front,
// which the other programs of an image do not read. DHTPROM_SCRAPER_WEB_LISTEN_ADDRESS is one.
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

// link is what Kubernetes puts into DHTPROM_PORT or DHTPROM_SCRAPER_PORT of every pod beside a service that is called
// dhtprom or dhtprom-scraper. No flag takes such a value.
var link = regexp.MustCompile(`^(tcp|udp|sctp)://`)

func isLink(name string) bool { return link.MatchString(os.Getenv(name)) }

var flagInError = regexp.MustCompile(`^--([a-z.-]+): `)

// fromEnv says of a value that was refused that it came from the environment, where its owner may not look for it.
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
		return fmt.Errorf("%w; it comes from %s in the environment", err, twin)
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
			err = ErrLeft
		}
	}()
	command, err = a.Application.Parse(args)
	return command, a.fromEnv(err, args)
}

// giveTwins gives the flags of a command, and of the commands below it, their environment twins.
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

// stopWithin bounds the stop of every program, from the signal to the end of its process. Its parts have bounds of their
// own that end before; this one holds however busy the machine is. Five seconds are promised.
const stopWithin = 4800 * time.Millisecond

// Main runs a program to its end, with a context that SIGINT and SIGTERM end. A second one of them ends the process at
// once, and so does stopWithin. Other signals that would end it are survived, before, during and after the stop: see OnHangUp.
func Main(run func(ctx context.Context, args []string, stdout, stderr io.Writer) int) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	context.AfterFunc(ctx, func() {
		time.Sleep(stopWithin)
		complain(os.Stderr, filepath.Base(os.Args[0]), fmt.Errorf("not stopped within %s: ended without the remaining goodbyes", stopWithin), "")
		os.Exit(Failed)
	})
	signal.Notify(make(chan os.Signal, 1), survived...) // a channel that is full drops what comes
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// Exit turns the end of a program into a line and an exit code. Errors that have several causes stay one line.
func Exit(name string, err error, stderr io.Writer) int {
	var usage *UsageError
	switch {
	case err == nil, errors.Is(err, ErrLeft):
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

// UsageError is the user's mistake.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }
