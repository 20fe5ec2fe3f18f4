package natlab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	interop "github.com/dhtprom/dhtprom/interop/process"
)

// mapper is a router with miniupnpd, whose mappings by PCP last for mappedFor at the most.
type mapper struct {
	*router
	leases string // the file of its mappings
}

const mappedFor = 24 * time.Second

// mapPorts starts miniupnpd on a router, for PCP and NAT-PMP. Without PCP, requests for that are dropped.
func (l *lab) mapPorts(r *router, pcp bool) mapper {
	l.t.Helper()
	block := ""
	if !pcp {
		block = `add rule ip filter input iifname "lan" udp dport 5351 @th,64,8 2 drop`
	}
	l.must(r.run(fmt.Sprintf(`
%s
add rule ip filter input iifname "lan" udp dport 5351 accept
add rule ip filter forward ct status dnat accept
table inet upnp {
	chain forward { type filter hook forward priority filter + 1; jump miniupnpd; }
	chain miniupnpd { }
	chain prerouting { type nat hook prerouting priority dstnat; jump in; }
	chain in { }
	chain postrouting { type nat hook postrouting priority srcnat - 1; jump out; }
	chain out { }
}`, block), "nft", "-f", "-"))
	dir := l.t.TempDir()
	m := mapper{r, filepath.Join(dir, "leases")}
	conf := filepath.Join(dir, "conf")
	l.must(os.WriteFile(conf, fmt.Appendf(nil, `ext_ifname=wan
listening_ip=lan
enable_upnp=no
enable_natpmp=yes
secure_mode=yes
min_lifetime=2
max_lifetime=%d
lease_file=%s
upnp_table_name=upnp
upnp_nat_table_name=upnp
upnp_forward_chain=miniupnpd
upnp_nat_chain=in
upnp_nat_postrouting_chain=out
uuid=6f0fd2c2-7a7b-4f7a-9f6f-000000000001
allow 1024-65535 0.0.0.0/0 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
`, int(mappedFor/time.Second), m.leases), 0o600))
	l.start(r.namespace, exec.Command("miniupnpd", "-d", "-f", conf, "-P", filepath.Join(dir, "pid")))
	return m
}

// lease returns the end of the mapping to a host; zero for none.
func (m mapper) lease(to host) time.Time {
	b, err := os.ReadFile(m.leases)
	if err != nil {
		return time.Time{}
	}
	for line := range strings.Lines(string(b)) { // UDP:external port:address:port:end:description
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) >= 5 && fields[0] == "UDP" && fields[2] == to.addr.String() {
			end, _ := strconv.ParseInt(fields[4], 10, 64)
			return time.Unix(end, 0)
		}
	}
	return time.Time{}
}

// forwards reports whether the kernel has the mapping to a host.
func (m mapper) forwards(to host) bool {
	var out []byte
	m.do(func() { out, _ = exec.Command("nft", "list", "chain", "inet", "upnp", "in").CombinedOutput() })
	return strings.Contains(string(out), to.addr.String())
}

// A scraper behind a NAT with random ports reaches a client directly where the client's router maps its port. The mapping is renewed while the
// client runs, and released when it stops. The router keeps ports, as home routers do: with masquerade fully-random, connections came late in
// most runs, probably because a session of earlier packets to the same peer hides the mapping.
func TestRouterMapsThePort(t *testing.T) {
	need(t)
	interop.Need(t, "miniupnpd")
	l := newLab(t)
	for _, protocol := range []string{"PCP", "NAT-PMP"} {
		t.Run(protocol, func(t *testing.T) {
			l := l.in(t)
			name := l.neighbourhood()
			at, far := l.site(name+"-a", masqueradeKind), l.site(name+"-b", fullyRandomKind)
			m := l.mapPorts(at.edge, protocol == "PCP")
			s := l.scraper(golang, far).(goScraper)
			s.kill() // until the client has its mapping, or they would punch
			c, _ := l.client(pair{golang, golang, false}, at, s.key(), "", "--dht.port-mapping=always")
			if !every(100*time.Millisecond, 2*startTimeout, func() bool { return m.forwards(at) }) {
				t.Fatal("the router maps nothing")
			}
			l.pass(3 * time.Second) // a DHT node has reached it there
			s = l.scraper(golang, far).(goScraper)
			var err error
			if !every(250*time.Millisecond, time.Minute, func() bool { err = s.scrape(); return err == nil }) {
				t.Fatalf("not scraped through the router: %v", err)
			}
			if path := s.path(at, far); path != "direct" {
				t.Fatalf("the path is %s", path)
			}
			first := m.lease(at)
			if first.IsZero() || !m.forwards(at) {
				t.Fatalf("the mapping ends at %v, the kernel forwards: %t", first, m.forwards(at))
			}
			// miniupnpd grants what NAT-PMP asks for, ten minutes.
			if protocol == "PCP" && !every(250*time.Millisecond, 2*mappedFor, func() bool { return m.lease(at).After(first) }) {
				t.Error("the mapping is not renewed")
			}
			l.must(s.scrape())
			c.(goClient).stop(l)
			if !every(50*time.Millisecond, 2*time.Second, func() bool { return m.lease(at).IsZero() && !m.forwards(at) }) {
				t.Error("the mapping is not released")
			}
		})
	}
}
