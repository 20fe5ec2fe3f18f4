package turn_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/interop/process"
	"github.com/dhtprom/dhtprom/interop/tool"
	serverof "github.com/dhtprom/dhtprom/interop/turn"
)

// dht starts a private DHT and returns its bootstrap node.
func dht(t *testing.T) string {
	t.Helper()
	port := process.FreePorts(t, 4)
	boot := process.Start(t, process.Command{Path: "dhtprom-scraper", Args: []string{"bootstrap", "--host=127.0.0.1", fmt.Sprintf("--port=%d", port), "--nodes=4"}})
	boot.Await(`--dht.bootstrap`)
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// write writes a file of the test.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// exporter starts an exporter.
func exporter(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "relayed_total 7") }))
	t.Cleanup(s.Close)
	return s
}

// scraped waits until a scraper serves an alias's metrics.
func scraped(t *testing.T, address, alias string) {
	t.Helper()
	process.Until(t, alias+" is scraped", func() error {
		page, err := process.Get("http://" + address + "/scrape/" + alias + "/metrics")
		if err == nil && !strings.Contains(string(page), "relayed_total 7") {
			err = fmt.Errorf("the page is %.100q", page)
		}
		return err
	})
}

// squid and tinyproxy start a proxy that connects to any port.
func squid(t *testing.T) (url string) {
	t.Helper()
	addr := process.FreeAddress(t)
	_, port, _ := strings.Cut(addr, ":")
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil { // squid drops its privileges
		t.Fatal(err)
	}
	conf := write(t, "squid.conf", fmt.Sprintf(`http_port 127.0.0.1:%s
http_access allow all
access_log none
cache_log /dev/null
cache deny all
pid_filename none
coredump_dir %s
shutdown_lifetime 0 seconds
`, port, dir))
	for p := filepath.Dir(conf); p != "/"; p = filepath.Dir(p) {
		_ = os.Chmod(p, 0o755)
	}
	_ = os.Chmod(conf, 0o644)
	process.Start(t, process.Command{Path: tool.Require(t, "squid", "/usr/sbin/squid"), Args: []string{"-N", "-f", conf}, Dir: dir})
	process.Until(t, "squid answers", func() error {
		resp, err := http.Get("http://" + addr)
		if err == nil {
			_ = resp.Body.Close()
		}
		return err
	})
	return "http://" + addr
}

func tinyproxy(t *testing.T) (url string) {
	t.Helper()
	addr := process.FreeAddress(t)
	_, port, _ := strings.Cut(addr, ":")
	conf := write(t, "tinyproxy.conf", fmt.Sprintf("Port %s\nListen 127.0.0.1\nTimeout 600\nMaxClients 20\nBasicAuth bob builder\n", port))
	process.Start(t, process.Command{Path: tool.Require(t, "tinyproxy"), Args: []string{"-d", "-c", conf}})
	process.Until(t, "tinyproxy answers", func() error {
		resp, err := http.Get("http://" + addr)
		if err == nil {
			_ = resp.Body.Close()
		}
		return err
	})
	return "http://bob:builder@" + addr
}

// The real programs over TURN servers: coturn and the relay's own, directly and through proxies, on one side or on both.
func TestProgramsRelayedByTURN(t *testing.T) {
	bootstrap := dht(t)
	coturn := serverof.StartCoturn(t)
	certFile, keyFile := serverof.Certificate(t, net.IPv4(127, 0, 0, 1))
	credentials := write(t, "credentials", serverof.Username+"\n"+serverof.Password+"\n")
	relay := process.FreeAddress(t)
	metrics := process.FreeAddress(t)
	storage := t.TempDir()
	process.Start(t, process.Command{Path: "dhtprom-scraper", Args: []string{
		"relay", "--dht.bootstrap=" + bootstrap, "--storage.path=" + storage, "--turn.listen-address=" + relay, "--turn.tls-cert-file=" + certFile,
		"--turn.tls-key-file=" + keyFile, "--turn.public-ip=127.0.0.1", "--turn.allow-peers=127.0.0.0/8", "--metrics.listen-address=" + metrics,
	}}).Await("Relaying")

	scraperOf := func(storage string, flags ...string) string {
		address := process.FreeAddress(t)
		process.Start(t, process.Command{Path: "dhtprom-scraper", Args: append([]string{
			"run", "--dht.bootstrap=" + bootstrap, "--storage.path=" + storage, "--web.listen-address=" + address,
		}, flags...)}).Await("Accepting registrations")
		return address
	}
	invite := func(storage string, flags ...string) string {
		path := filepath.Join(t.TempDir(), "invite")
		process.Run(t, process.Command{Path: "dhtprom-scraper", Args: append([]string{
			"invite", "--storage.path=" + storage, "--dht.bootstrap=" + bootstrap, "--output=" + path,
		}, flags...)})
		return path
	}
	client := func(alias, invite string, flags ...string) *process.Process {
		return process.Start(t, process.Command{Path: "dhtprom-client", Args: append([]string{
			"--invite-file=" + invite, "--alias=" + alias, "--target=" + exporter(t).URL,
		}, flags...)})
	}

	address := scraperOf(storage)
	// The invite has the relay's server with credentials; the client needs no flag but the certificate of this test.
	withTURN := invite(storage, "--turn=turns:"+relay)
	client("over-the-relay", withTURN, "--turn=always", "--turn.ca-file="+certFile)
	plain := invite(storage)
	for name, way := range map[string][]string{
		"over-coturn-tcp":   {"--turn.server=turn:" + coturn.TCP + "?transport=tcp"},
		"over-coturn-udp":   {"--turn.server=turn:" + coturn.UDP},
		"through-squid":     {"--turn.server=turn:" + coturn.TCP + "?transport=tcp", "--turn.proxy=" + squid(t)},
		"through-tinyproxy": {"--turn.server=turn:" + coturn.TCP + "?transport=tcp", "--turn.proxy=" + tinyproxy(t)},
	} {
		client(name, plain, append([]string{"--turn=always", "--turn.credentials-file=" + credentials}, way...)...)
	}
	for _, alias := range []string{"over-the-relay", "over-coturn-tcp", "over-coturn-udp", "through-squid", "through-tinyproxy"} {
		scraped(t, address, alias)
	}

	// The scraper, too, reaches nothing but a TURN server.
	second := filepath.Join(t.TempDir(), "second")
	address = scraperOf(second, "--turn=always", "--turn.server=turn:"+coturn.TCP+"?transport=tcp", "--turn.credentials-file="+credentials)
	client("both", invite(second, "--turn=turns:"+relay, "--turn.secret-file="+filepath.Join(storage, "turn.secret")), "--turn=always", "--turn.ca-file="+certFile)
	client("one", invite(second))
	scraped(t, address, "both")
	scraped(t, address, "one")

	page, err := process.Get("http://" + metrics + "/metrics")
	for _, want := range []string{"dhtprom_turn_allocations 2", "dhtprom_turn_unauthorized_total 0", "dhtprom_relay_pairs 0"} {
		if err != nil || !strings.Contains(string(page), want) {
			t.Errorf("the relay's metrics have no %q: %v", want, err)
		}
	}
}
