package web

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"

	"github.com/dhtprom/dhtprom/domain"
)

// TargetGroup is one target in the form of Prometheus's HTTP service discovery.
type TargetGroup struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// fallbackJob is the job of an alias whose client named no service.
const fallbackJob = "dhtprom"

// discovery lists each alias as a target, with this server's address and the alias's path, so that a prometheus.yml needs no
// relabeling. The names and labels that clients register are also present as __meta_ labels, for other labeling.
func (h *Handler) discovery(w http.ResponseWriter, r *http.Request) {
	all, err := h.list(r.Context())
	if err != nil {
		line(w, http.StatusServiceUnavailable, "No list: "+err.Error()) // Prometheus keeps the previous list
		return
	}
	at := h.origin(r)
	groups := make([]TargetGroup, 0, len(all))
	for _, a := range all {
		if !a.Overdue { // an overdue alias is not scraped any more, but not removed yet
			groups = append(groups, targetGroup(a, at))
		}
	}
	body, err := json.Marshal(groups)
	if err != nil { // text always encodes
		line(w, http.StatusInternalServerError, "Cannot encode the list")
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(body, '\n'))
}

func targetGroup(a domain.AliasStatus, at origin) TargetGroup {
	labels := map[string]string{
		"__scheme__":       at.scheme,
		"__metrics_path__": at.prefix + pathOf(a.Alias),
		"instance":         cmp.Or(a.Label, string(a.Alias)),
		"job":              fallbackJob,

		"__meta_dhtprom_alias":    string(a.Alias),
		"__meta_dhtprom_key":      a.Key.String(),
		"__meta_dhtprom_service":  a.Service,
		"__meta_dhtprom_hostname": a.Hostname,
		"__meta_dhtprom_identity": a.Identity,
	}
	if a.Service != "" {
		labels["job"], labels["service"] = a.Service, a.Service
	}
	if a.Hostname != "" {
		labels["hostname"] = a.Hostname
	}
	for name, value := range a.Labels.All() {
		labels[name] = value
		labels["__meta_dhtprom_label_"+name] = value
	}
	return TargetGroup{Targets: []string{at.host}, Labels: labels}
}

// origin is the address under which a caller reaches this server.
type origin struct{ scheme, host, prefix string }

type addressKey struct{}

// WithAddress returns the context of a connection whose requests have no address of the server, as those over a Unix socket. The address
// is that of the targets in service discovery: Prometheus takes unix:PATH.
func WithAddress(ctx context.Context, address string) context.Context {
	return context.WithValue(ctx, addressKey{}, address)
}

// origin returns the external URL if there is one, otherwise the address in the request, or of its connection.
func (h *Handler) origin(r *http.Request) origin {
	if u := h.cfg.ExternalURL; u != nil {
		return origin{scheme: u.Scheme, host: u.Host, prefix: h.linkPrefix}
	}
	at := origin{scheme: "http", host: r.Host, prefix: h.linkPrefix}
	if address, ok := r.Context().Value(addressKey{}).(string); ok {
		at.host = address
	}
	if r.TLS != nil {
		at.scheme = "https"
	}
	return at
}
