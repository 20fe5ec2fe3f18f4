package cli

import (
	"net"
	"net/http"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v2"

	"github.com/dhtprom/dhtprom/adapters/web/hosts"
)

// AllowedHostHelp is the help of --web.allowed-host.
const AllowedHostHelp = "Host name under which the HTTP server may be asked, besides IP addresses, localhost, this machine's name and those in its other flags; *.DOMAIN allows all names below a domain, * any name, which exposes the server to foreign web sites. Repeatable."

// HostNames are the names under which a server may be asked that listens on some addresses: the host names among these,
// and those that the flag --web.allowed-host gives.
func HostNames(listen []string, given ...string) *hosts.Names {
	for _, address := range listen {
		if host, _, err := net.SplitHostPort(address); err == nil && host != "" {
			given = append(given, host)
		}
	}
	return hosts.New(given...)
}

// Protocols are those of the HTTP servers: HTTP/1.1 alone. The limits on what callers may hold end connections, and over HTTP/2 one
// connection has hundreds of requests, which net/http does not end while the peer reads nothing. Prometheus, browsers and proxies speak both.
func Protocols() *http.Protocols {
	p := &http.Protocols{}
	p.SetHTTP1(true)
	return p
}

// GuardCollector counts what a guard refuses.
func GuardCollector(g *hosts.Guard) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "dhtprom_http_requests_misdirected_total", Help: "HTTP requests refused because their host name is not one of this server's.",
	}, func() float64 { return float64(g.Refused()) })
}

// Authenticated reports whether a web configuration has proven who sent a request that has come through: by a password,
// without which it would not have, or by a certificate.
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
