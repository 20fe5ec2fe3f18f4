package web

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
)

// envelope is the response format of Prometheus's API.
type envelope struct {
	Status string `json:"status"` // success or error
	Data   any    `json:"data,omitempty"`
	Error  string `json:"error,omitempty"`
}

func answer(w http.ResponseWriter, code int, e envelope) {
	body, err := json.Marshal(e)
	if err != nil { // text and numbers always encode
		line(w, http.StatusInternalServerError, "Cannot encode the answer")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = w.Write(append(body, '\n'))
}

// Status is the data of /api/v1/status.
type Status struct {
	PublicKey          string         `json:"publicKey"`
	SecretFingerprints []string       `json:"secretFingerprints"`
	Version            string         `json:"version"`
	StartTime          time.Time      `json:"startTime"`
	Ready              bool           `json:"ready"`
	Aliases            int            `json:"aliases"`
	Sessions           map[string]int `json:"sessions"`          // by state
	Damages            []Damage       `json:"damages,omitempty"` // of the alias table, repaired since the start
	DHT                DHT            `json:"dht"`
	Group              *Group         `json:"group,omitempty"` // of scrapers, if this one is in one
}

// Damage is damage of the alias table that was repaired.
type Damage struct {
	Time      time.Time `json:"time"`
	Kept      string    `json:"kept,omitempty"` // the damaged file
	Recovered int       `json:"recovered"`      // records
	Problems  []string  `json:"problems"`
}

func damagesOf(all []domain.StoreDamage) (list []Damage) {
	for _, d := range all {
		list = append(list, Damage{Time: d.At.UTC(), Kept: d.Kept, Recovered: d.Recovered, Problems: d.Problems})
	}
	return list
}

// DHT is the state of the scraper's DHT node.
type DHT struct {
	State         string   `json:"state"`
	BoundAddress  string   `json:"boundAddress,omitempty"` // of the UDP socket
	Addresses     []string `json:"addresses"`              // of this machine's interfaces
	PublicAddress string   `json:"publicAddress,omitempty"`
	// KnownAddress is the public address that is configured, at which clients need no DHT node.
	KnownAddress string `json:"knownAddress,omitempty"`
	// PortMapping is the state of the mapping of the node's port at the router: asking, verifying, active or failed.
	PortMapping string `json:"portMapping,omitempty"`
	Firewalled  bool   `json:"firewalled"`
	Ephemeral   bool   `json:"ephemeral"`
	NAT         string `json:"nat"`
	Nodes       int    `json:"nodes"`
	Announced   int    `json:"announced_nodes"`
	Streams     int    `json:"streams"`
}

func dhtOf(n ports.NodeStatus) DHT {
	d := DHT{
		State: n.State, PortMapping: n.Mapping.State, Addresses: []string{}, Firewalled: n.Firewalled, Ephemeral: n.Ephemeral, NAT: n.NAT,
		Nodes: n.Nodes, Announced: n.Announced, Streams: n.Streams,
	}
	for _, a := range n.Addrs {
		d.Addresses = append(d.Addresses, a.String())
	}
	if n.Local.IsValid() {
		d.BoundAddress = n.Local.String()
	}
	if n.PublicAddr.IsValid() {
		d.PublicAddress = n.PublicAddr.String()
	}
	if n.Known.IsValid() {
		d.KnownAddress = n.Known.String()
	}
	return d
}

// sessionStates are the possible states of a session in the table.
var sessionStates = []domain.SessionState{domain.SessionConnecting, domain.SessionOpen, domain.SessionWaiting}

func (h *Handler) status(w http.ResponseWriter, r *http.Request) {
	s, err := ask(r.Context(), h.cfg.Loop, func() Status {
		counts := h.cfg.Scraper.Sessions()
		sessions := map[string]int{}
		for _, state := range sessionStates {
			sessions[state.String()] = counts[state]
		}
		return Status{
			PublicKey: h.cfg.Scraper.PublicKey().String(), SecretFingerprints: slices.Clone(h.cfg.Scraper.Fingerprints()),
			Version: h.cfg.Version, StartTime: h.started.UTC(), Ready: h.cfg.Scraper.Ready(),
			Aliases: h.cfg.Scraper.Stats().Aliases, Sessions: sessions,
			Damages: damagesOf(h.cfg.Scraper.Damages()), DHT: dhtOf(h.cfg.Scraper.Node()), Group: membershipOf(h.cfg.Scraper).entry(),
		}
	})
	if err != nil {
		answer(w, http.StatusServiceUnavailable, envelope{Status: "error", Error: err.Error()})
		return
	}
	answer(w, http.StatusOK, envelope{Status: "success", Data: s})
}

// Aliases is the data of /api/v1/aliases.
type Aliases struct {
	Aliases []AliasEntry `json:"aliases"`
}

// Identities is the data of /api/v1/identities.
type Identities struct {
	Identities []Identity `json:"identities"`
}

// Identity is one identity. The name is empty for the shared secrets.
type Identity struct {
	Name               string                `json:"name"`
	SecretFingerprints []string              `json:"secretFingerprints"`
	Patterns           []domain.AliasPattern `json:"patterns,omitempty"` // of the aliases it may register; none means all
	Labels             map[string]string     `json:"labels,omitempty"`
	Aliases            int                   `json:"aliases"`
	Registrations      uint64                `json:"registrations"`
	Rejected           uint64                `json:"rejected"`
}

func (h *Handler) identities(w http.ResponseWriter, r *http.Request) {
	all, err := ask(r.Context(), h.cfg.Loop, h.cfg.Scraper.IdentityStatus)
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	data := Identities{Identities: []Identity{}}
	for _, i := range all {
		data.Identities = append(data.Identities, Identity{
			Name: i.Name, SecretFingerprints: i.Fingerprints, Patterns: i.Patterns, Labels: maps.Collect(i.Labels.All()),
			Aliases: i.Aliases, Registrations: i.Registrations, Rejected: i.Rejected,
		})
	}
	answer(w, http.StatusOK, envelope{Status: "success", Data: data})
}

// AliasEntry is one alias.
type AliasEntry struct {
	Alias      string    `json:"alias"`
	PublicKey  string    `json:"publicKey"`
	Hostname   string    `json:"hostname"`
	Service    string    `json:"service"`
	Identity   string    `json:"identity,omitempty"` // of its client; none for the shared secrets
	Registered time.Time `json:"registered"`
	Renewed    time.Time `json:"renewed"`
	Expires    time.Time `json:"expires"`
	ScrapePath string    `json:"scrapePath"`
	Session    string    `json:"session"`
	Holder     string    `json:"holder,omitempty"` // the member of the group that holds the connection, if another one
	Connection
	// Instance and Labels are those that service discovery lists for it, where its client has set them.
	Instance     string            `json:"instance,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
	Pinned       bool              `json:"pinned"`
	Shared       bool              `json:"sharedKey"` // two running clients recently registered it under one key
	SessionError string            `json:"sessionError,omitempty"`
	Health       string            `json:"health"` // up, down or unknown, after the last scrape
	LastScrape   *Scrape           `json:"lastScrape,omitempty"`
}

// Scrape is the last scrape of an alias.
type Scrape struct {
	Time            time.Time  `json:"time"`
	DurationSeconds float64    `json:"durationSeconds"`
	Bytes           int        `json:"bytes"`
	Error           string     `json:"error,omitempty"`
	LastSuccess     *time.Time `json:"lastSuccess,omitempty"`
}

func (h *Handler) aliases(w http.ResponseWriter, r *http.Request) {
	all, err := h.list(r.Context())
	if err != nil {
		answer(w, http.StatusServiceUnavailable, envelope{Status: "error", Error: err.Error()})
		return
	}
	data := Aliases{Aliases: make([]AliasEntry, len(all))}
	for i, a := range all {
		data.Aliases[i] = entryOf(a)
	}
	answer(w, http.StatusOK, envelope{Status: "success", Data: data})
}

func entryOf(a domain.AliasStatus) AliasEntry {
	e := AliasEntry{
		Alias: string(a.Alias), PublicKey: a.Key.String(), Hostname: a.Hostname, Service: a.Service, Identity: a.Identity,
		Registered: a.Registered.UTC(), Renewed: a.Renewed.UTC(), Expires: a.Expires.UTC(),
		ScrapePath: pathOf(a.Alias),
		Session:    a.Session.String(), Health: "unknown", Pinned: a.Pinned, Shared: a.Shared, Holder: a.Holder,
		Instance: a.Label, Labels: maps.Collect(a.Labels.All()), Connection: connectionOf(a),
	}
	if a.Why != nil {
		e.SessionError = oneLine(a.Why.Error())
	}
	if s := a.Scrape; !s.At.IsZero() {
		e.Health = "up"
		e.LastScrape = &Scrape{Time: s.At.UTC(), DurationSeconds: s.Took.Seconds(), Bytes: s.Bytes}
		if s.Err != nil {
			e.Health = "down"
			e.LastScrape.Error = oneLine(s.Err.Error())
		}
		if !s.Success.IsZero() {
			last := s.Success.UTC()
			e.LastScrape.LastSuccess = &last
		}
	}
	return e
}
