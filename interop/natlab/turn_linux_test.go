package natlab

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	interop "github.com/dhtprom/dhtprom/interop/turn"
)

// proxyPort is the port of HTTP proxies.
const proxyPort = 3128

// turnSite is a site whose network lets no UDP out, and coturn on port 443 of a public address, over TLS.
type turnSite struct {
	client host
	server host
	flags  []string // of a program in the site
	cert   string
	key    string
}

// noUDP builds such a site. Its router lets out TCP to one port, of one address where to is set.
func (l *lab) noUDP(name string, to *host, port int) turnSite {
	l.t.Helper()
	s := turnSite{client: l.site(name+"-a", masqueradeKind), server: l.site(name+"-turn", openKind)}
	only := fmt.Sprintf("tcp dport %d accept;", port)
	if to != nil {
		only = fmt.Sprintf("ip daddr %s tcp dport %d accept;", to.addr, port)
	}
	l.must(s.client.edge.run(fmt.Sprintf(`
table ip noudp {
	chain forward {
		type filter hook forward priority filter - 1;
		iifname "lan" %s
		iifname "lan" drop;
	}
}`, only), "nft", "-f", "-"))
	s.cert, s.key = interop.Certificate(l.t, net.IP(s.server.addr.AsSlice()))
	credentials := filepath.Join(l.t.TempDir(), "credentials")
	l.must(os.WriteFile(credentials, []byte(interop.Username+"\n"+interop.Password+"\n"), 0o600))
	s.flags = []string{fmt.Sprintf("--turn.server=turns:%s:443", s.server.addr), "--turn.credentials-file=" + credentials, "--turn.ca-file=" + s.cert}
	return s
}

// letOut ends what noUDP blocks.
func (s *turnSite) letOut() error {
	return s.client.edge.run("delete table ip noudp", "nft", "-f", "-")
}

// serve starts coturn and waits until it accepts connections.
func (s *turnSite) serve(l *lab) *process {
	l.t.Helper()
	ip := s.server.addr.String()
	p := l.start(s.server.namespace, exec.Command("turnserver", "-n", "--log-file=stdout", "--no-cli", "--listening-ip="+ip, "--relay-ip="+ip,
		"--listening-port=3478", "--tls-listening-port=443", "--cert="+s.cert, "--pkey="+s.key, "--no-dtls", "--lt-cred-mech",
		"--user="+interop.Username+":"+interop.Password, "--realm=natlab.test", "--pidfile="+filepath.Join(l.t.TempDir(), "pid"), "--userdb="+filepath.Join(l.t.TempDir(), "db")))
	if !every(25*time.Millisecond, startTimeout, func() bool {
		var conn net.Conn
		var err error
		s.server.do(func() { conn, err = net.Dial("tcp", ip+":443") })
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}) {
		l.t.Fatal("coturn does not accept connections")
	}
	return p
}

// startsWithoutUDP measures from the start of a client in such a site to the first scrape.
func startsWithoutUDP(in language, flags ...string) func(*lab, string) outcome {
	return func(l *lab, name string) outcome {
		l.t.Helper()
		site := l.noUDP(name, nil, 443)
		site.serve(l)
		at := l.site(name+"-b", masqueradeKind)
		s := l.scraper(in, at)
		_, begun := l.client(pair{golang, in, false}, site.client, s.key(), "", append(site.flags, flags...)...)
		return l.firstScrape(s, begun, site.client, at)
	}
}

// pageWithoutUDP measures a scrape of 1 MB from a client in such a site, byte for byte what the exporter sends.
func pageWithoutUDP(l *lab, name string) outcome {
	l.t.Helper()
	site := l.noUDP(name, nil, 443)
	site.serve(l)
	var page strings.Builder
	for i := 0; page.Len() < 1_000_000; i++ {
		fmt.Fprintf(&page, "natlab_bytes{number=\"%d\"} %d\n", i, i*i*7919) // not the same line again and again: it is compressed
	}
	url := l.exporter(site.client, page.String())
	at := l.site(name+"-b", masqueradeKind)
	s := l.scraper(golang, at).(goScraper)
	_, begun := l.client(pair{golang, golang, false}, site.client, s.key(), "", append(site.flags, "--target="+url)...)
	if o := l.firstScrape(s, begun, site.client, at); o.err != nil {
		return o
	}
	s.within = 10 * time.Second
	begun = time.Now()
	body, err := s.get("/scrape/" + alias + "/metrics")
	o := outcome{seconds: time.Since(begun).Seconds(), path: s.path(site.client, at), err: err}
	if err == nil && string(body) != page.String() {
		o.err = fmt.Errorf("the page of %d bytes is not what the exporter has sent, %d bytes", len(body), page.Len())
	}
	return o
}

// exporter serves a page on a host, and returns its URL there.
func (l *lab) exporter(at host, page string) string {
	l.t.Helper()
	var listener net.Listener
	var err error
	at.do(func() { listener, err = net.Listen("tcp", "127.0.0.1:9100") })
	l.must(err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = io.WriteString(w, page)
	})}
	go func() { _ = server.Serve(listener) }()
	l.t.Cleanup(func() { _ = server.Close() })
	return "http://127.0.0.1:9100/metrics"
}

// startsThroughProxy is startsWithoutUDP where a proxy, squid or tinyproxy, is the only way out.
func startsThroughProxy(program string) func(*lab, string) outcome {
	return func(l *lab, name string) outcome {
		l.t.Helper()
		proxy := l.site(name+"-p", openKind)
		site := l.noUDP(name, &proxy, proxyPort)
		site.serve(l)
		l.proxy(program, proxy)
		at := l.site(name+"-b", masqueradeKind)
		s := l.scraper(golang, at)
		flags := append(site.flags, "--turn=always", fmt.Sprintf("--turn.proxy=http://%s:%d", proxy.addr, proxyPort))
		_, begun := l.client(pair{golang, golang, false}, site.client, s.key(), "", flags...)
		return l.firstScrape(s, begun, site.client, at)
	}
}

// proxy starts an HTTP proxy and waits until it accepts connections.
func (l *lab) proxy(program string, at host) {
	l.t.Helper()
	dir := l.t.TempDir()
	path := filepath.Join(dir, "conf")
	text, args := fmt.Sprintf("Port %d\nListen %s\nTimeout 600\nMaxClients 20\n", proxyPort, at.addr), []string{"-d", "-c", path}
	if program == "squid" {
		text = fmt.Sprintf("http_port %s:%d\nhttp_access allow all\naccess_log none\ncache_log /dev/null\ncache deny all\npid_filename none\ncoredump_dir %s\n", at.addr, proxyPort, dir)
		args = []string{"-N", "-f", path}
	}
	l.must(os.WriteFile(path, []byte(text), 0o644))
	for p := dir; p != "/"; p = filepath.Dir(p) {
		_ = os.Chmod(p, 0o755) // squid drops its privileges; the folders above are not all this test's
	}
	l.start(at.namespace, exec.Command(program, args...))
	if !every(25*time.Millisecond, startTimeout, func() bool {
		var conn net.Conn
		var err error
		at.do(func() { conn, err = net.Dial("tcp", netip.AddrPortFrom(at.addr, proxyPort).String()) })
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}) {
		l.t.Fatalf("%s does not accept connections", program)
	}
}

// connectedByTURN starts a client in a site without UDP, and waits for its first scrape.
func connectedByTURN(l *lab, name string) (site turnSite, server *process, s goScraper) {
	l.t.Helper()
	site = l.noUDP(name, nil, 443)
	server = site.serve(l)
	at := l.site(name+"-b", masqueradeKind)
	s = l.scraper(golang, at).(goScraper)
	_, begun := l.client(pair{golang, golang, false}, site.client, s.key(), "", site.flags...)
	if o := l.firstScrape(s, begun, site.client, at); o.err != nil {
		l.t.Fatalf("not connected in the first place: %v", o.err)
	}
	if path := s.path(site.client, at); path != "turn" && path != "punched" {
		l.t.Fatalf("the path is %s", path)
	}
	return site, server, s
}

// turnServerReturns measures from the return of a killed TURN server to the next scrape.
func turnServerReturns(l *lab, name string) outcome {
	l.t.Helper()
	site, server, s := connectedByTURN(l, name)
	server.kill()
	l.pass(30 * time.Second)
	site.serve(l)
	return l.firstScrape(s, time.Now(), site.client, s.host)
}

// udpIsLetOut measures from the moment at which UDP is let out until the connection takes it. No scrape but one may fail meanwhile.
func udpIsLetOut(l *lab, name string) outcome {
	l.t.Helper()
	site, server, s := connectedByTURN(l, name)
	l.must(site.letOut())
	begun, failed := time.Now(), 0
	for time.Since(begun) < time.Minute {
		if err := s.scrape(); err != nil {
			failed++
		}
		l.pass(500 * time.Millisecond)
		if time.Since(begun) > 35*time.Second && failed == 0 && s.scrape() == nil {
			break
		}
	}
	server.kill() // the connection does without it
	if failed > 1 {
		return outcome{err: fmt.Errorf("%d scrapes failed", failed)}
	}
	o := l.firstScrape(s, time.Now(), site.client, s.host)
	return o
}
