package cli

import (
	"net"
	"net/http"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v2"

	"github.com/dhtprom/dhtprom/adapters/web/hosts"
	"github.com/dhtprom/dhtprom/adapters/web/unix"
)

// AllowedHostHelp is the help of --web.allowed-host.
const AllowedHostHelp = "Host name that the HTTP server accepts in requests, besides IP addresses, localhost, this machine's name and the names in other flags; *.DOMAIN allows all names below a domain, * any name, which exposes the server to foreign web sites. Repeatable."

// HostNames are the host names accepted by a server that listens on some addresses: the names among the addresses, and those of
// the flag --web.allowed-host.
func HostNames(listen []string, given ...string) *hosts.Names {
	for _, address := range listen {
		if _, is := unix.Path(address); is {
			continue
		}
		if host, _, err := net.SplitHostPort(address); err == nil && host != "" {
			given = append(given, host)
		}
	}
	return hosts.New(given...)
}

// webSocketMode is for the users of one group: the program's, and Prometheus's.
const webSocketMode = 0o660

// ListenWeb listens for HTTP on an address that WebAddr has checked.
func ListenWeb(address string) (net.Listener, error) {
	if path, is := unix.Path(address); is {
		return unix.Listen(path, webSocketMode)
	}
	return net.Listen("tcp", address)
}

// Protocols are those of the HTTP servers: HTTP/1.1 alone. The limits on callers close connections, and one HTTP/2 connection has
// hundreds of requests, which net/http does not end while the peer does not read. Prometheus, browsers and proxies speak both.
func Protocols() *http.Protocols {
	p := &http.Protocols{}
	p.SetHTTP1(true)
	return p
}

// GuardCollector counts the requests that a guard rejects.
func GuardCollector(g *hosts.Guard) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "dhtprom_http_requests_misdirected_total", Help: "HTTP requests rejected because their host name is not one of this server's.",
	}, func() float64 { return float64(g.Refused()) })
}

// Authenticated reports whether the web configuration has authenticated a request that was let through: by a password, which is
// required for all where it is set, or by a certificate.
func Authenticated(webConfig string, r *http.Request) bool {
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return true
	}
	if webConfig == "" {
		return false
	}
	content, err := os.ReadFile(webConfig) // each time, as the toolkit does
	if err != nil {
		return false
	}
	var c struct {
		Users map[string]string `yaml:"basic_auth_users"`
	}
	return yaml.Unmarshal(content, &c) == nil && len(c.Users) > 0
}
