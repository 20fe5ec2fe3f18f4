package natlab

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/interop/jspeer"
	"github.com/dhtprom/dhtprom/interop/netns"
	interop "github.com/dhtprom/dhtprom/interop/process"
)

// lab is a core with a DHT, and sites around it, owned by a test.
type lab struct {
	t testing.TB
	*world
}

type world struct {
	prefix    string
	core      namespace
	bootstrap []netip.AddrPort
	relayKey  string // hex
	relayAddr netip.Addr
	line      netns.Link   // between each site and the core
	wires     sync.Map     // by the namespace at the site, where the line is not the zero Link
	cables    atomic.Int32 // that end in the core
	sites     atomic.Int32

	neighbourhoods atomic.Int32
}

// in returns the laboratory for a subtest: processes started there end with it.
func (l *lab) in(t testing.TB) *lab { return &lab{t, l.world} }

const (
	coreAddr = "81.0.0.1"
	dhtPort  = 49737
	// goNodes and jsNodes make up the DHT. The packages need ten or more nodes on distinct addresses to find out what NAT
	// they are behind.
	goNodes = 8
	jsNodes = 4
)

// dhtAddr returns the address of DHT node i.
func dhtAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{81, 1, 0, byte(i + 1)}) }

// labs counts the laboratories of this process, for unique names.
var labs atomic.Int32

// need skips the test where it cannot run, and fails it where it must run.
func need(t testing.TB) {
	t.Helper()
	netns.Need(t, family, "ip", "bridge", "nft")
}

// newLab builds a core with a running DHT. It is removed with the test.
func newLab(t testing.TB) *lab {
	t.Helper()
	return newLabWith(t, netns.Link{})
}

// newLabWith is newLab with sites that are at the end of a line.
func newLabWith(t testing.TB, line netns.Link) *lab {
	t.Helper()
	if err := sweepOrphans(); err != nil {
		t.Fatal(err)
	}
	jspeer.Require(t) // installs the packages while the registry can be reached: namespaces have no route there
	l := &lab{t, &world{prefix: fmt.Sprintf("%s%d-%d-", family, os.Getpid(), labs.Add(1)), line: line}}
	stop, err := guard(l.prefix)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("tearing the laboratory down: %v", err)
		}
	})
	l.core = l.namespace("core")
	commands := "route add prohibit default\naddr add " + coreAddr + "/32 dev lo\n"
	for i := range goNodes + jsNodes {
		commands += fmt.Sprintf("addr add %s/32 dev lo\n", dhtAddr(i))
	}
	l.must(l.core.ip(commands))
	l.forwards(l.core)
	l.startDHT()
	l.startRelay()
	return l
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// namespace creates a namespace of the laboratory.
func (l *lab) namespace(name string) namespace {
	l.t.Helper()
	n := namespace(l.prefix + name)
	if out, err := exec.Command("ip", "netns", "add", string(n)).CombinedOutput(); err != nil {
		l.t.Fatalf("ip netns add: %v\n%s", err, out)
	}
	l.must(n.ip("link set lo up"))
	return n
}

// forwards makes a namespace a router.
func (l *lab) forwards(n namespace) {
	l.t.Helper()
	var err error
	n.do(func() { err = os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) })
	l.must(err)
}

func (l *lab) startDHT() {
	l.t.Helper()
	var args dhtArgs
	for i := range goNodes {
		args.Nodes = append(args.Nodes, netip.AddrPortFrom(dhtAddr(i), dhtPort))
	}
	l.role(l.core, "dht", args).await(l.t, ready)
	l.bootstrap = args.Nodes[:3]
	p := l.javaScript(l.core)
	for i := goNodes; i < goNodes+jsNodes; i++ {
		jspeer.StartNode(p, jspeer.Args{
			"host": dhtAddr(i).String(), "port": dhtPort, "bootstrap": l.bootstrapJS(), "ephemeral": false, "firewalled": false,
		})
	}
}

// startRelay starts a blind relay.
func (l *lab) startRelay() {
	l.t.Helper()
	seed := jspeer.Seed("natlab relay")
	l.relayKey = id.KeyPairFromSeed(seedOf(seed)).Public.Hex()
	h := l.site("relay", openKind)
	l.relayAddr = h.addr
	l.program(h.namespace, []string{"DHTPROM_IDENTITY_SEED=" + seed}, "dhtprom-scraper", "relay",
		"--storage.path="+l.t.TempDir()).await(l.t, "Relaying")
}

func (l *lab) bootstrapJS() []jspeer.Address {
	var all []jspeer.Address
	for _, a := range l.bootstrap {
		all = append(all, jspeer.AddressOf(a))
	}
	return all
}

// javaScript starts a node process in a namespace.
func (l *lab) javaScript(n namespace) (p *jspeer.Peer) {
	l.t.Helper()
	n.do(func() { p = jspeer.Start(l.t) })
	return p
}

// process is a Go program in a namespace.
type process struct {
	cmd   *exec.Cmd
	in    io.WriteCloser // its standard input
	ended chan struct{}
	lines chan string // of its standard output, while a test reads them

	mu     sync.Mutex
	output bytes.Buffer
}

// maxLines bounds the unread lines of a process; further ones are in the log only.
const maxLines = 1024

// start starts a program that ends with the test.
func (l *lab) start(n namespace, cmd *exec.Cmd) *process {
	l.t.Helper()
	p := &process{cmd: cmd, ended: make(chan struct{}), lines: make(chan string, maxLines)}
	r, w, err := os.Pipe()
	l.must(err)
	cmd.Stdout, cmd.Stderr = w, w
	p.in, err = cmd.StdinPipe()
	l.must(err)
	n.do(func() { err = cmd.Start() })
	w.Close()
	l.must(err)
	go func() {
		defer close(p.ended)
		defer r.Close()
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			p.mu.Lock()
			fmt.Fprintf(&p.output, "%s %s\n", time.Now().Format("15:04:05.000"), lines.Text())
			p.mu.Unlock()
			select {
			case p.lines <- lines.Text():
			default:
			}
		}
		_ = cmd.Wait() // the exit status is in ProcessState
	}()
	l.t.Cleanup(func() {
		p.in.Close()
		p.kill()
		if l.t.Failed() {
			l.t.Logf("%s in %s:\n%s", filepath.Base(cmd.Path), n, p.log())
		}
	})
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Signal(unix.SIGKILL) // it may have exited by itself
	<-p.ended
}

func (p *process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

// startTimeout bounds the start of a process that prints or serves something.
const startTimeout = time.Minute

// await waits for a line of a process that contains a text.
func (p *process) await(t testing.TB, text string) {
	t.Helper()
	timeout := time.NewTimer(startTimeout)
	defer timeout.Stop()
	for {
		select {
		case line := <-p.lines:
			if strings.Contains(line, text) {
				return
			}
		case <-p.ended:
			t.Fatalf("%s ended: %v\n%s", p.cmd.Path, p.cmd.ProcessState, p.log())
		case <-timeout.C:
			t.Fatalf("%s did not print %q within %v:\n%s", p.cmd.Path, text, startTimeout, p.log())
		}
	}
}

// role starts the test program in a role.
func (l *lab) role(n namespace, role string, args any) *process {
	l.t.Helper()
	text, err := json.Marshal(args)
	l.must(err)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleVariable+"="+role, argsVariable+"="+string(text))
	return l.start(n, cmd)
}

// programs are dhtprom-client and dhtprom-scraper, built once per process.
var programs = sync.OnceValues(func() (dir string, err error) {
	if dir = os.Getenv(interop.FolderVariable); dir == "" {
		if dir, err = os.MkdirTemp("", "natlab"); err != nil {
			return "", err
		}
		built.Store(dir)
	}
	build := exec.Command("go", "build", "-o", dir, "./cmd/dhtprom-client", "./cmd/dhtprom-scraper")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return dir, nil
})

// built is the temporary folder of the programs, if they were needed: a string.
var built atomic.Value

// program starts a Go program; env is added to an environment without settings for it.
func (l *lab) program(n namespace, env []string, name string, args ...string) *process {
	l.t.Helper()
	dir, err := programs()
	l.must(err)
	for _, b := range l.bootstrap {
		args = append(args, "--dht.bootstrap="+b.String())
	}
	cmd := exec.Command(filepath.Join(dir, name), args...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "DHTPROM_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, env...)
	return l.start(n, cmd)
}
