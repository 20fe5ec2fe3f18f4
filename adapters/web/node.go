package web

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/adapters/web/look"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
)

// fact is a name with a value.
type fact struct{ Name, Value string }

// nodeView is the data of the node's page.
type nodeView struct {
	Key          string
	Ready        bool
	State        string
	Facts        []fact
	Fingerprints []string
	Identities   []identityView
	IdentityTurn look.Turn
	Sessions     []fact
	Paths        []fact
	Counters     []section
	Refusals     []refusal
	Damages      []damage
	Pins         []pinView
	PinTurn      look.Turn
	Config       string
	Command      string
	Group        *groupView // nil without one
}

type refusal struct {
	At      moment
	Alias   string
	Reason  string
	Key     string
	Address string
	Times   string
}

type identityView struct {
	Name, Patterns, Labels          string
	Fingerprints                    []string
	Aliases, Registrations, Refused string
}

type pinView struct {
	Alias, Link, Key string
	Since            moment
}

// damage is a repair of the alias table.
type damage struct {
	At        moment
	Recovered int
	Kept      string
	Problems  string
}

type nodeSnapshot struct {
	snapshot
	refusals     []domain.Refusal
	damages      []domain.StoreDamage
	pinned       []domain.Pin
	fingerprints []string
	key          domain.PublicKey
}

func (h *Handler) node(w http.ResponseWriter, r *http.Request) {
	s := h.cfg.Scraper
	aliases, err := h.list(r.Context())
	var snap nodeSnapshot
	if err == nil {
		snap, err = ask(r.Context(), h.cfg.Loop, func() nodeSnapshot {
			return nodeSnapshot{
				snapshot: snapshotOf(s),
				refusals: s.Refusals(), damages: s.Damages(), pinned: s.Pins(), fingerprints: slices.Clone(s.Fingerprints()), key: s.PublicKey(),
			}
		})
	}
	if err != nil {
		h.sorry(w, r, http.StatusServiceUnavailable, "No answer", "Try again in a moment: "+err.Error()+".")
		return
	}
	now := time.Now()
	v := nodeView{
		Key: snap.key.String(), Ready: snap.ready, State: snap.node.State, Fingerprints: snap.fingerprints, Facts: h.nodeFacts(snap.node, now),
		Config: h.prometheusConfig(r), Command: h.cfg.ClientCommand, Group: snap.group.view(now),
	}
	for _, state := range sessionStates {
		v.Sessions = append(v.Sessions, fact{sentence(state.String()), strconv.Itoa(snap.sessions[state])})
	}
	paths := map[domain.Path]map[domain.PublicKey]bool{}
	for _, a := range aliases {
		if a.SessionUp {
			if paths[a.Peer.Path] == nil {
				paths[a.Peer.Path] = map[domain.PublicKey]bool{}
			}
			paths[a.Peer.Path][a.Key] = true
		}
	}
	for _, p := range domain.Paths() {
		word, _ := pathWords(p)
		v.Paths = append(v.Paths, fact{word, strconv.Itoa(len(paths[p]))})
	}
	v.Sessions = append(v.Sessions, fact{"Registration service", counted(snap.stats.AliasConnections, "connection")})
	v.Counters = sectionsOf(snap.stats, snap.node.Counters)
	for _, d := range slices.Backward(snap.damages) {
		v.Damages = append(v.Damages, damage{momentAt(d.At, now), d.Recovered, d.Kept, strings.Join(d.Problems, "; ")})
	}
	for _, f := range slices.Backward(snap.refusals) {
		one := refusal{At: momentAt(f.Last, now), Alias: oneLine(string(f.Alias)), Reason: reasonWords(f.Reason), Key: f.Peer.Key.String(), Address: f.Peer.Addr.String()}
		if f.Count > 1 {
			one.Times = fmt.Sprintf("%d times", f.Count)
		}
		v.Refusals = append(v.Refusals, one)
	}
	v.PinTurn = look.Turn{ID: "pins", Label: "Pages of the pins", Total: len(snap.pinned)}
	from, to := h.selectNodeRows(&v.PinTurn, r.URL.Query())
	for _, p := range snap.pinned[from:to] {
		v.Pins = append(v.Pins, pinView{
			Alias: string(p.Alias), Link: h.linkPrefix + "/alias?name=" + url.QueryEscape(string(p.Alias)), Key: p.Key.String(), Since: momentAt(p.Since, now),
		})
	}
	v.IdentityTurn = look.Turn{ID: "identities", Label: "Pages of the identities", Total: len(snap.identities)}
	from, to = h.selectNodeRows(&v.IdentityTurn, r.URL.Query())
	for _, i := range snap.identities[from:to] {
		v.Identities = append(v.Identities, identityOf(i))
	}
	h.render(w, r, http.StatusOK, "node", "Node", v)
}

// nodeRows is the number of identities, and of pins, on one page.
const nodeRows = 50

// selectNodeRows selects the page of a list that the URL's parameter with its ID has. Links keep the pages of the other lists.
func (h *Handler) selectNodeRows(t *look.Turn, q url.Values) (from, to int) {
	number, _ := strconv.Atoi(q.Get(t.ID)) // the first page if it is no number
	return t.Select(number, nodeRows, func(page int) string {
		other := url.Values{}
		for _, list := range []string{"identities", "pins"} {
			if n, err := strconv.Atoi(q.Get(list)); err == nil {
				other.Set(list, strconv.Itoa(n))
			}
		}
		other.Set(t.ID, strconv.Itoa(page))
		return h.linkPrefix + "/node?" + other.Encode() + "#" + t.ID
	})
}

func identityOf(i domain.IdentityStatus) identityView {
	v := identityView{
		Name: domain.IdentityTitle(i.Name), Patterns: "all", Fingerprints: i.Fingerprints,
		Aliases: strconv.Itoa(i.Aliases), Registrations: strconv.FormatUint(i.Registrations, 10), Refused: strconv.FormatUint(i.Rejected, 10),
	}
	if len(i.Patterns) > 0 {
		var all []string
		for _, p := range i.Patterns {
			all = append(all, string(p))
		}
		v.Patterns = strings.Join(all, ", ")
	}
	var labels []string
	for name, value := range i.Labels.All() {
		labels = append(labels, name+"="+value)
	}
	v.Labels = strings.Join(labels, ", ")
	return v
}

func (h *Handler) nodeFacts(n ports.NodeStatus, now time.Time) []fact {
	addrs := make([]string, len(n.Addrs))
	for i, a := range n.Addrs {
		addrs[i] = a.String()
	}
	public := "not known yet"
	if n.PublicAddr.IsValid() {
		public = n.PublicAddr.String()
		switch {
		case n.Known.IsValid():
			public = n.Known.String() + ", as configured"
		case !n.Firewalled:
			public += ", reachable from everywhere: with --dht.public-address, clients need no DHT node"
		}
	}
	local := "not bound"
	if n.Local.IsValid() {
		local = n.Local.String() + " (UDP)"
	}
	role := "Persistent: stores records of others"
	if n.Ephemeral {
		role = "Ephemeral: uses the DHT and stores no records of others"
	}
	facts := []fact{
		{"DHT", sentence(n.State)}, {"DHT nodes known", strconv.Itoa(n.Nodes)}, {"DHT nodes with its record", strconv.Itoa(n.Announced)}, {"Role", role}, {"NAT", natWords(n.NAT)},
		{"Public address", public}, {"Bound to", local},
	}
	if words := mappingWords(n.Mapping); words != "" {
		facts = append(facts, fact{"Port mapping", words})
	}
	if len(addrs) > 0 {
		facts = append(facts, fact{"Own addresses", strings.Join(addrs, ", ")})
	}
	return append(facts, fact{"Open streams", strconv.Itoa(n.Streams)}, fact{"Running for", span(now.Sub(h.started).Truncate(time.Second))})
}

// mappingWords describes the mapping of the node's port at the router; "" without one.
func mappingWords(m ports.PortMapping) string {
	switch m.State {
	case "":
		return ""
	case "active":
		return m.External.String() + ", by " + m.Protocol + " at the router " + m.Router.String()
	case "verifying":
		return m.External.String() + ", not reached from outside yet"
	case "asking":
		return "The router " + m.Router.String() + " has not answered yet"
	}
	return "None: " + m.Problem
}

// prometheusConfig returns the configuration for prometheus.yml, with the server address of the request.
func (h *Handler) prometheusConfig(r *http.Request) string {
	at := h.origin(r)
	scheme, metrics := "", ""
	if at.scheme == "https" {
		scheme = "\n    scheme: https"
	}
	if path := at.prefix + h.cfg.TelemetryPath; path != "/metrics" {
		metrics = "\n    metrics_path: " + path
	}
	return fmt.Sprintf(`scrape_configs:
  - job_name: dhtprom-scraper%[3]s%[4]s
    static_configs: [{targets: ['%[1]s']}]
  - job_name: dhtprom
    http_sd_configs: [{url: '%[2]s'}]
`, at.host, at.scheme+"://"+at.host+at.prefix+"/sd/prometheus", scheme, metrics)
}
