package web

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/adapters/web/look"
	"github.com/dhtprom/dhtprom/domain"
)

// The status pages are rendered on the server and work without scripts. app.js fetches the same pages periodically and
// replaces the parts that changed. All state of a view is in the URL.

//go:embed assets
var assets embed.FS

var pages = template.Must(look.Templates().Funcs(template.FuncMap{"tooltip": tooltip}).ParseFS(assets, "assets/*.html"))

const (
	// pageRows is the number of aliases on one page; more make browsers slow and the page hard to read.
	pageRows = 200
	// maxQuery bounds the search text, in bytes.
	maxQuery = 300
)

func (h *Handler) render(w http.ResponseWriter, r *http.Request, code int, name, title string, data any) {
	link := func(text, path string) look.Link {
		return look.Link{Name: text, URL: h.linkPrefix + path}
	}
	aliases, node := link("Aliases", "/"), link("Node", "/node")
	aliases.Current, node.Current = name == "aliases", name == "node"
	look.Frame{
		Title: title, Brand: "dhtprom", Program: "dhtprom-scraper", Version: h.cfg.Version, Prefix: h.linkPrefix, Now: time.Now(), Data: data,
		Pages: []look.Link{aliases, node},
		Programs: []look.Link{
			link("Metrics", h.cfg.TelemetryPath), link("Service discovery", "/sd/prometheus"), link("Aliases as JSON", "/api/v1/aliases"),
			link("Status as JSON", "/api/v1/status"), link("Readiness", readyPath),
		},
	}.Show(w, r, code, pages.Lookup(name+".html"))
}

func (h *Handler) sorry(w http.ResponseWriter, r *http.Request, code int, title, text string) {
	h.render(w, r, code, "sorry", title, text)
}

// row is one alias in the list.
type row struct {
	ID       string // for the page's script
	Alias    string
	Link     string
	Service  string
	Hostname string
	Identity string
	State    condition
	Session  string
	Path     string
	Meaning  string // of the path
	Address  string
	measured
	lastScrape
	chips
	Error   string
	Expires moment
	Pinned  bool
	Overdue bool
	Shared  bool
}

// lastScrape is the last scrape of an alias, and those before it.
type lastScrape struct {
	Scraped moment
	Took    string
	Size    string
	Slow    bool
	Spark   *sparkline // nil for less than two scrapes
}

func (h *Handler) rowOf(a domain.AliasStatus, now time.Time) row {
	sum := sha256.Sum256([]byte(a.Alias))
	r := row{
		ID: hex.EncodeToString(sum[:8]), Alias: string(a.Alias), Link: h.linkPrefix + "/alias?name=" + url.QueryEscape(string(a.Alias)),
		Service: a.Service, Hostname: a.Hostname, Identity: a.Identity, State: conditionOf(a), Session: sessionWords(a),
		lastScrape: lastScrape{Scraped: momentAt(a.Scrape.At, now)}, Expires: momentAt(a.Expires, now), Pinned: a.Pinned, Overdue: a.Overdue, Shared: a.Shared,
		chips: chipsOf(a.Labels), Error: troubleOf(a), measured: measuredWords(a),
	}
	if a.SessionUp {
		r.Path, r.Meaning = pathWords(a.Peer.Path)
		r.Address = a.Peer.Addr.String()
	}
	if !a.Scrape.At.IsZero() {
		r.Took = span(a.Scrape.Took)
		if a.Scrape.Err == nil {
			r.Size = size(a.Scrape.Bytes)
		}
	}
	return r
}

// details is the data of an alias's page.
type details struct {
	row
	Key        string
	Scrape     string // link
	Registered moment
	Renewed    moment
	Since      moment // of the connection
	Success    moment
	PinKey     string // of a pin to another key
	PinSince   moment
	History    []change
	Scrapes    []result
	Picture    *picture // nil: nothing to draw
	Labels     []string // of the operator
	Detour     string   // why a relay carries the connection
}

// change is one line of a session's history.
type change struct {
	At    moment
	Open  bool
	What  string
	Times string
}

// result is one of the last scrapes.
type result struct {
	At    moment
	OK    bool
	Took  string
	Size  string
	Error string
}

func (h *Handler) alias(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("name")
	type found struct {
		domain.AliasDetail
		ok  bool
		nat string // this node's
	}
	f, err := ask(r.Context(), h.cfg.Loop, func() found {
		d, ok := h.cfg.Scraper.Alias(domain.Alias(name))
		return found{d, ok, h.cfg.Scraper.Node().NAT}
	})
	switch {
	case err != nil:
		h.sorry(w, r, http.StatusServiceUnavailable, "No answer", "Try again in a moment: "+err.Error()+".")
		return
	case !f.ok:
		h.sorry(w, r, http.StatusNotFound, "Unknown alias", "No client is registered under this name. It may have said goodbye, or have expired.")
		return
	}
	now := time.Now()
	d := details{
		row: h.rowOf(f.AliasStatus, now), Key: f.Key.String(),
		Scrape:     h.linkPrefix + pathOf(domain.Alias(name)),
		Registered: momentAt(f.Registered, now), Renewed: momentAt(f.Renewed, now), Since: momentAt(f.Since, now), Success: momentAt(f.AliasStatus.Scrape.Success, now),
		PinSince: momentAt(f.AliasDetail.Pin.Since, now),
	}
	d.Detour = detourWords(f.AliasDetail.Detour, f.nat)
	d.Picture = pictureOf(f.AliasDetail, now)
	for name, value := range f.AliasDetail.Labels.All() {
		d.Labels = append(d.Labels, name+"="+value)
	}
	if p := f.AliasDetail.Pin; !p.Key.IsZero() && p.Key != f.Key {
		d.PinKey = p.Key.String()
	}
	for _, c := range slices.Backward(f.History) {
		d.History = append(d.History, changeOf(c, now))
	}
	for _, s := range slices.Backward(f.Scrapes) {
		res := result{At: momentAt(s.At, now), OK: s.Err == nil, Took: span(s.Took), Error: errorWords(s.Err)}
		if res.OK {
			res.Size = size(s.Bytes)
		}
		d.Scrapes = append(d.Scrapes, res)
	}
	h.render(w, r, http.StatusOK, "alias", fmt.Sprintf("%s: %s", d.Alias, strings.ToLower(d.State.Word())), d)
}

func changeOf(c domain.SessionChange, now time.Time) change {
	out := change{At: momentAt(c.Last, now), Open: c.State == domain.SessionOpen}
	if out.Open {
		word, meaning := pathWords(c.Peer.Path)
		out.What = fmt.Sprintf("Connected to %s", c.Peer.Addr)
		if word != "" {
			out.What += fmt.Sprintf(" – %s: %s", strings.ToLower(word), meaning)
			if c.Peer.Path == domain.PathLAN {
				out.What = fmt.Sprintf("Connected to %s %s", c.Peer.Addr, meaning)
			}
		}
	} else {
		out.What = errorWords(c.Err)
	}
	if c.Count > 1 {
		out.Times = fmt.Sprintf("%d times since %s", c.Count, momentAt(c.First, now).Exact)
	}
	return out
}
