package direct_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/interop/process"
	"github.com/dhtprom/dhtprom/interop/tool"
)

func TestNodeExporterIsTheSameThroughDhtprom(t *testing.T) {
	address := process.FreeAddress(t)
	process.Start(t, process.Command{
		Path: tool.Require(t, "prometheus-node-exporter", "node_exporter"), Args: []string{"--web.listen-address=" + address},
	})
	awaits(t, "http://"+address+"/metrics")
	compareProgram(t, "http://"+address+"/metrics")
}

const blackboxConfig = `modules:
  tcp: {prober: tcp, timeout: 5s}
  http: {prober: http, timeout: 5s, http: {preferred_ip_protocol: ip4}}
`

// blackbox starts a blackbox_exporter and returns its address.
func blackbox(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "blackbox.yml")
	must(t, os.WriteFile(file, []byte(blackboxConfig), 0o600))
	address := process.FreeAddress(t)
	process.Start(t, process.Command{
		Path: tool.Require(t, "prometheus-blackbox-exporter", "blackbox_exporter"),
		Args: []string{"--config.file=" + file, "--web.listen-address=" + address},
	})
	awaits(t, "http://"+address+"/metrics")
	return "http://" + address
}

// awaits waits until an exporter answers.
func awaits(t *testing.T, address string) {
	t.Helper()
	process.Until(t, "the exporter answers", func() error {
		_, err := process.Get(address)
		return err
	})
}

// probe returns the URL of a probe.
func probe(exporter, module, target string) string {
	return exporter + "/probe?" + url.Values{"module": {module}, "target": {target}}.Encode()
}

func TestBlackboxExporterIsTheSameThroughDhtprom(t *testing.T) {
	probed := httptest.NewServer(http.NotFoundHandler())
	defer probed.Close()
	exporter := blackbox(t)
	for name, address := range map[string]string{
		"metrics": exporter + "/metrics",
		"tcp":     probe(exporter, "tcp", probed.Listener.Addr().String()),
		"http":    probe(exporter, "http", probed.URL),
	} {
		t.Run(name, func(t *testing.T) { compareProgram(t, address) })
	}
}

// compareProgram compares a program whose values change.
func compareProgram(t *testing.T, address string) {
	t.Helper()
	w := newWorld(t, target(t, "program", address))
	for _, as := range callers {
		t.Run(as.name, func(t *testing.T) {
			c := &comparison{T: t, caller: as, direct: as.scrape(t, address, patience)}
			c.through = as.scrape(t, w.through("program"), patience)
			c.sameShape(as.scrape(t, address, patience))
		})
	}
}

// A probe that gets no answer is a successful scrape of a failure, since blackbox_exporter knows the time that is left.
func TestProbeThatHangsFailsInTime(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer silent.Close()
	address := probe(blackbox(t), "http", fmt.Sprintf("http://%s/", silent.Addr()))
	w := newWorld(t, target(t, "probe", address))
	as, timeout := callers[3], 2*time.Second
	c := &comparison{T: t, caller: as, direct: as.scrape(t, address, timeout), through: as.scrape(t, w.through("probe"), timeout)}
	c.sameConclusion()
	for _, s := range []*scraped{c.direct, c.through} {
		if !s.up() || !contains(fmt.Sprint(s.entries), `series {__name__="probe_success"} 0`) {
			t.Errorf("%v, %s", s.err, s.body)
		}
	}
}
