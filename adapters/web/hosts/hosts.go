// Package hosts protects an HTTP server against DNS rebinding: web sites that reach it through their visitors' browsers.
//
// A site can point a name of its own at any address after its page has loaded: at 127.0.0.1, or at a machine of the
// visitor's network. To the browser, the server there is then that site, and the site's scripts may read every answer. Such
// a request is recognizable by its Host field, which has the site's name. A Guard answers only under names that no site can
// have:
//
//   - IP addresses, since no name is looked up for them, and requests without a Host field, which browsers do not send;
//   - localhost and names below it, which browsers resolve themselves;
//   - this machine's name, and configured names;
//   - where the server can be reached from other machines, the names that only a local resolver can answer: those of one
//     label, such as containers have, and those below the domains that are set aside for private use, such as services
//     of a cluster have. An attacker that can forge these is on the local network, and needs no browser to reach the server.
package hosts

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// privateDomains are never delegated in the public DNS, or are answered by a cluster's own resolver alone.
var privateDomains = []string{
	".internal",          // set aside for private use by ICANN in 2024; host.docker.internal
	".home.arpa",         // RFC 8375
	".svc",               // services of Kubernetes
	".svc.cluster.local", // likewise, in full
}

const (
	// maxName is the length of the longest DNS name.
	maxName = 253
	// logInterval is the minimum interval between logged rejections: one line shows a wrong configuration, and a site can
	// send any number of requests.
	logInterval = time.Minute
)

// Names are the accepted host names of a server.
type Names struct {
	any      bool
	exact    map[string]bool
	suffixes []string // with the dot
}

// New returns the names of this machine and the given ones, in the form that Parse returns.
func New(given ...string) *Names {
	n := &Names{exact: map[string]bool{}}
	if name, err := os.Hostname(); err == nil && name != "" {
		name = canonical(name)
		first, _, _ := strings.Cut(name, ".")
		n.exact[name], n.exact[first], n.exact[first+".local"] = true, true, true // .local: multicast DNS
	}
	for _, name := range given {
		name = canonical(name)
		suffix, below := strings.CutPrefix(name, "*")
		switch {
		case name == "*":
			n.any = true
		case below:
			n.suffixes = append(n.suffixes, suffix)
		default:
			n.exact[name] = true
		}
	}
	return n
}

// Parse validates a name: a host name without a port, "*.example.org" for all names below a domain, or "*" for any name,
// which disables the protection.
func Parse(text string) (string, error) {
	name := strings.TrimPrefix(canonical(text), "*.")
	bad := name == "" || len(name) > maxName || strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".") || strings.Contains(name, "..")
	for _, r := range name {
		bad = bad || r <= ' ' || r >= 0x7f || strings.ContainsRune("/\\:@?#,[]*%", r)
	}
	if bad && text != "*" {
		return "", fmt.Errorf("want a host name without a port, *.DOMAIN, or *, got %.80q", text)
	}
	return canonical(text), nil
}

// Reach states whether a server can be reached from other machines.
type Reach bool

// The reaches.
const (
	ThisMachine   Reach = false
	OtherMachines Reach = true
)

// ReachOf returns the reach of a listener by its address. One of unknown form counts as reachable from other machines.
func ReachOf(a net.Addr) Reach {
	bound, err := netip.ParseAddrPort(a.String())
	return Reach(err != nil || !bound.Addr().Unmap().IsLoopback())
}

// Accepts reports whether a server with this reach may answer a request with this Host field.
func (n *Names) Accepts(host string, from Reach) bool {
	if n.any || host == "" {
		return true
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	address, _, _ := strings.Cut(host, "%")
	if _, err := netip.ParseAddr(address); err == nil {
		return true
	}
	name := canonical(host)
	if name == "localhost" || strings.HasSuffix(name, ".localhost") || n.exact[name] {
		return true
	}
	for _, suffix := range n.suffixes {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	if from == ThisMachine {
		return false
	}
	for _, suffix := range privateDomains {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return !strings.Contains(name, ".")
}

func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// Guard rejects requests under other names with status 421.
type Guard struct {
	Names *Names
	// Exempt reports whether a request has proven by a password that no foreign site made it; nil exempts none. Requests over
	// TLS are always accepted: under a foreign name the certificate does not match.
	Exempt func(*http.Request) bool
	Log    *slog.Logger

	refused atomic.Uint64

	mu     sync.Mutex
	logged time.Time
	silent uint64 // refused and not logged since
}

// Refused returns the number of rejected requests.
func (g *Guard) Refused() uint64 { return g.refused.Load() }

// Wrap guards the handler of a server with this reach.
func (g *Guard) Wrap(next http.Handler, from Reach) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil || g.Names.Accepts(r.Host, from) || g.Exempt != nil && g.Exempt(r) {
			next.ServeHTTP(w, r)
			return
		}
		g.refuse(w, r)
	})
}

func (g *Guard) refuse(w http.ResponseWriter, r *http.Request) {
	g.refused.Add(1)
	host := r.Host[:min(len(r.Host), maxName)]
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	g.log(host, r.RemoteAddr)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusMisdirectedRequest)
	_, _ = fmt.Fprintf(w, "Not served under the host name %q: if it is a name of this server, add it by --web.allowed-host, or set --web.external-url; otherwise use an IP address or localhost\n", host)
}

func (g *Guard) log(host, from string) {
	if g.Log == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := time.Now(); g.logged.IsZero() || now.Sub(g.logged) >= logInterval {
		g.Log.Warn("Rejected an HTTP request under a host name that is not this server's; see --web.allowed-host",
			"host", host, "from", from, "suppressed", g.silent)
		g.logged, g.silent = now, 0
		return
	}
	g.silent++
}
