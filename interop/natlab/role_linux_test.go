package natlab

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/hyperdht"
)

// The roles in which the test program runs itself in other namespaces, where no program of the product fits.
const (
	roleVariable = "DHTPROM_NATLAB_ROLE"
	argsVariable = "DHTPROM_NATLAB_ARGS"
	ready        = "ready" // the output of a prepared role
)

var roles = map[string]func(args string) error{
	"guard":    guardRole,
	"crash":    crashRole,
	"dht":      dhtRole,
	"attack":   attackRole,
	"register": registerRole,
}

func TestMain(m *testing.M) {
	flag.Parse()
	if role := os.Getenv(roleVariable); role != "" {
		if err := roles[role](os.Getenv(argsVariable)); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", role, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	if err := finish(code == 0); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// untilOrphaned waits until the test process closes the standard input or ends.
func untilOrphaned() { _, _ = io.Copy(io.Discard, os.Stdin) }

func guardRole(prefix string) error {
	untilOrphaned()
	return sweep(prefix)
}

// crashRole creates a namespace with a process in it, prints the process id of that and dies, guarded or not.
func crashRole(args string) error {
	prefix := fmt.Sprintf("%s%d-", family, os.Getpid())
	if args == guarded {
		if _, err := guard(prefix); err != nil {
			return err
		}
	}
	if out, err := exec.Command("ip", "netns", "add", prefix+"x").CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	sleeper := exec.Command("sleep", "1000")
	var err error
	namespace(prefix + "x").do(func() { err = sleeper.Start() })
	if err != nil {
		return err
	}
	fmt.Println(sleeper.Process.Pid)
	return unix.Kill(os.Getpid(), unix.SIGKILL)
}

const guarded = "guarded"

// dhtArgs are the DHT nodes of a process. The first is the bootstrap node.
type dhtArgs struct{ Nodes []netip.AddrPort }

func dhtRole(args string) error {
	var a dhtArgs
	if err := json.Unmarshal([]byte(args), &a); err != nil {
		return err
	}
	h := udp.New(udp.Options{})
	defer h.Close()
	for i, addr := range a.Nodes {
		cfg := hyperdht.Config{Bootstrap: []string{}, Listen: addr, Mode: hyperdht.Persistent, Reachable: true, PublicAddr: addr}
		if i > 0 {
			cfg.Bootstrap = []string{a.Nodes[0].String()}
		}
		if _, err := startNode(h, cfg); err != nil {
			return err
		}
	}
	fmt.Println(ready)
	untilOrphaned()
	return nil
}

// startNode runs a node on a host and waits until it is ready.
func startNode(h *udp.Host, cfg hyperdht.Config) (n *hyperdht.Node, err error) {
	done := make(chan error, 1)
	h.Post(func() {
		cfg.OnReady = func() { done <- nil }
		if n, err = hyperdht.New(h, cfg); err != nil {
			done <- err
		}
	})
	return n, <-done
}
