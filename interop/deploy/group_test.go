package deploy_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/interop/etcd"
	"github.com/dhtprom/dhtprom/interop/process"
)

// localize replaces the addresses of a group by those of this machine.
func (n *node) localize(env map[string]string, web string) {
	n.t.Helper()
	if env["DHTPROM_GROUP_ETCD"] == "" {
		return
	}
	if own := env["DHTPROM_GROUP_ADVERTISE_URL"]; own != "http://127.0.0.1:30000" || env["DHTPROM_GROUP_NAME"] != n.pod {
		n.t.Errorf("%s is a member at %q", env["DHTPROM_GROUP_NAME"], own)
	}
	env["DHTPROM_GROUP_ETCD"], env["DHTPROM_GROUP_ADVERTISE_URL"] = n.etcd, "http://"+web
	env["DHTPROM_DHT_BOOTSTRAP"] = n.dht
}

// The members of the manifests, as processes on a real etcd, are restarted in turn. No scrape at the others is lost.
func TestGroupRuns(t *testing.T) {
	c := &cluster{t: t}
	c.build("group")
	c.build("dht")
	c.check()
	n := c.newNode()
	n.etcd = strings.Join(etcd.StartCluster(t, 1).Endpoints(), "\n")
	n.startDHT()
	keys := process.Run(t, process.Command{Path: "dhtprom-scraper", Args: []string{"keygen"}})
	for _, name := range []string{"seed", "secret"} {
		n.secrets["dhtprom-group/"+name] = regexp.MustCompile(`(?m)^` + name + `: *(\S+)$`).FindStringSubmatch(keys)[1]
	}
	scraper := n.container("scraper")
	members := make([]*groupMember, 3)
	for i := range members {
		own := *n
		own.data, own.pod, own.scraper = t.TempDir(), fmt.Sprint("dhtprom-scraper-", i), process.FreeAddress(t)
		members[i] = &groupMember{node: &own, Process: own.start(scraper, own.scraper)}
	}
	for _, m := range members {
		m.probe(scraper, m.scraper)
	}
	file := filepath.Join(t.TempDir(), "invite")
	process.Run(t, process.Command{Path: "dhtprom-scraper", Args: []string{"invite", "--storage.path=" + t.TempDir(), "--dht.bootstrap=" + n.dht, "--output=" + file}, Env: []string{
		"DHTPROM_IDENTITY_SEED=" + n.secrets["dhtprom-group/seed"], "DHTPROM_SECRET=" + n.secrets["dhtprom-group/secret"],
	}})
	if _, err := os.Stat(file); err != nil {
		t.Fatal(err)
	}
	process.Start(t, process.Command{Path: "dhtprom-client", Args: []string{
		"--invite-file=" + file, "--alias=laptop", "--web.listen-address=" + process.FreeAddress(t),
	}})
	for _, m := range members {
		process.Until(t, m.pod+" scrapes", m.scrape)
	}
	for i, m := range members {
		others := append(append([]*groupMember{}, members[:i]...), members[i+1:]...)
		stop := scrapeAll(t, others)
		m.Signal(syscall.SIGTERM)
		if code := m.Wait(); code != 0 {
			t.Errorf("%s ends with %d", m.pod, code)
		}
		m.Process = m.start(scraper, m.scraper)
		m.probe(scraper, m.scraper)
		process.Until(t, m.pod+" scrapes again", m.scrape)
		stop()
	}
}

// groupMember is a running member.
type groupMember struct {
	*node
	*process.Process
}

func (m *groupMember) scrape() error {
	page, err := process.Get("http://" + m.scraper + "/scrape/laptop/metrics")
	if err == nil && !strings.Contains(string(page), "go_goroutines") {
		err = fmt.Errorf("%.200s", page)
	}
	return err
}

// scrapeAll scrapes at members until stop is called. No scrape may fail.
func scrapeAll(t *testing.T, members []*groupMember) (stop func()) {
	ended := make(chan struct{})
	var all sync.WaitGroup
	for _, m := range members {
		all.Go(func() {
			ticks := time.NewTicker(200 * time.Millisecond)
			defer ticks.Stop()
			for {
				if err := m.scrape(); err != nil {
					t.Errorf("%s: %v", m.pod, err)
				}
				select {
				case <-ended:
					return
				case <-ticks.C:
				}
			}
		})
	}
	return func() {
		close(ended)
		all.Wait()
	}
}
