package packaging_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/interop/process"
)

// manager receives the reports of a program as systemd does.
type manager struct {
	t      *testing.T
	path   string
	socket *net.UnixConn
	seen   []string
}

func newManager(t *testing.T) *manager {
	t.Helper()
	dir, err := os.MkdirTemp("", "notify") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	m := &manager{t: t, path: filepath.Join(dir, "socket")}
	if m.socket, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.socket.Close() })
	return m
}

// start starts a program with a watchdog.
func (m *manager) start(path string, args ...string) *process.Process {
	m.t.Helper()
	return process.Start(m.t, process.Command{
		Path: path, Args: args, Env: []string{"NOTIFY_SOCKET=" + m.path, "WATCHDOG_USEC=500000"},
	})
}

// await waits for a report in which a line matches.
func (m *manager) await(pattern string) {
	m.t.Helper()
	line := regexp.MustCompile("(?m)^" + pattern + "$")
	if err := m.socket.SetReadDeadline(time.Now().Add(process.Patience)); err != nil {
		m.t.Fatal(err)
	}
	for state := make([]byte, 1<<12); ; {
		n, err := m.socket.Read(state)
		if err != nil {
			m.t.Fatalf("no report of %s: %v, but %q", pattern, err, m.seen)
		}
		m.seen = append(m.seen, string(state[:n]))
		if line.Match(state[:n]) {
			return
		}
	}
}

var keygen = regexp.MustCompile(`(?s)public key: (\S+).*secret: +(\S+)`)

// The units are of Type=notify: systemd waits for these reports, and ends what does not send them.
func TestServicesReportToSystemd(t *testing.T) {
	const noDHT = "--dht.bootstrap=127.0.0.1:1" // a service without a network is ready
	nodes := fmt.Sprintf("--port=%d", process.FreePorts(t, 2))
	for name, start := range map[string]func(m *manager) *process.Process{
		"scraper": func(m *manager) *process.Process {
			return m.start("dhtprom-scraper", "run", "--storage.path="+t.TempDir(), "--web.listen-address=127.0.0.1:0", noDHT)
		},
		"bootstrap": func(m *manager) *process.Process {
			return m.start("dhtprom-scraper", "bootstrap", "--host=127.0.0.1", nodes, "--nodes=2")
		},
		"relay": func(m *manager) *process.Process {
			return m.start("dhtprom-scraper", "relay", "--storage.path="+t.TempDir(), noDHT)
		},
		"client": func(m *manager) *process.Process {
			keys := keygen.FindStringSubmatch(process.Run(t, process.Command{Path: "dhtprom-scraper", Args: []string{"keygen"}}))
			file := filepath.Join(t.TempDir(), "secret")
			if err := os.WriteFile(file, []byte(keys[2]), 0o600); err != nil {
				t.Fatal(err)
			}
			return m.start("dhtprom-client", "--scraper="+keys[1], "--secret-file="+file, "--alias=laptop", noDHT)
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newManager(t)
			p := start(m)
			m.await("READY=1")
			if name == "scraper" { // its table is there from then on
				if _, err := process.Get("http://" + p.Await(`msg="Listening on" address=(\S+)`)[1] + "/api/v1/aliases"); err != nil {
					t.Error(err)
				}
			}
			for range 2 {
				m.await("WATCHDOG=1")
			}
			p.Signal(syscall.SIGHUP)
			m.await("RELOADING=1")
			if reload := m.seen[len(m.seen)-1]; !regexp.MustCompile(`\nMONOTONIC_USEC=\d+$`).MatchString(reload) {
				t.Errorf("a reload without its time, which Type=notify-reload needs: %q", reload)
			}
			m.await("READY=1")
			p.Stop()
			m.await("STOPPING=1")
		})
	}
}
