package web

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/coding"
	"github.com/dhtprom/dhtprom/ports"
)

// The status pages are rendered on the server and work without scripts. app.js fetches the same pages periodically and
// replaces the parts that changed. All state of a view is in the URL.

//go:embed assets
var assets embed.FS

var pages = template.Must(template.New("").ParseFS(assets, "assets/*.html"))

// policy restricts a page to its own style and script, whatever names clients register.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

const (
	stylePath  = "/assets/style.css"
	scriptPath = "/assets/app.js"
	// pageRows is the number of aliases on one page; more make browsers slow and the page hard to read.
	pageRows = 200
	// maxQuery bounds the search text, in bytes.
	maxQuery = 300
)

// asset is a file that pages load. Its URL has a hash of its content, so that browsers can cache it indefinitely.
type asset struct {
	content []byte
	kind    string
	version string
}

func newAsset(name, kind string) asset {
	content, err := assets.ReadFile("assets/" + name)
	if err != nil {
		panic(err) // it is compiled in
	}
	sum := sha256.Sum256(content)
	return asset{content: content, kind: kind, version: hex.EncodeToString(sum[:6])}
}

var style, script = newAsset("style.css", "text/css; charset=utf-8"), newAsset("app.js", "text/javascript; charset=utf-8")

func (a asset) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", a.kind)
	w.Header().Set("Cache-Control", "max-age=31536000, immutable")
	write(w, r, http.StatusOK, a.content)
}

// write sends a body, compressed if accepted and at least gzipFrom bytes.
func write(w http.ResponseWriter, r *http.Request, code int, body []byte) {
	w.Header().Set("Vary", "Accept-Encoding")
	if len(body) >= gzipFrom && coding.Accepts(r.Header.Values("Accept-Encoding"), coding.Gzip) {
		body = compress(body)
		w.Header().Set("Content-Encoding", "gzip")
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// frame is the data of all pages.
type frame struct {
	Title     string
	Page      string // which of the pages: "aliases", "node", or neither
	Prefix    string // of all links
	Style     string // versions of the assets
	Script    string
	Telemetry string
	Version   string
	Now       moment
	Data      any
}

func (h *Handler) render(w http.ResponseWriter, r *http.Request, code int, name, title string, data any) {
	now := time.Now()
	f := frame{
		Title: title, Page: name, Prefix: h.linkPrefix, Style: style.version, Script: script.version, Telemetry: h.cfg.TelemetryPath,
		Version: h.cfg.Version, Now: momentAt(now, now), Data: data,
	}
	f.Now.Words = now.UTC().Format("15:04:05 UTC")
	var body bytes.Buffer
	if err := pages.ExecuteTemplate(&body, name+".html", f); err != nil {
		line(w, http.StatusInternalServerError, "Cannot render the page: "+err.Error())
		return
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Security-Policy", policy)
	header.Set("Referrer-Policy", "no-referrer")
	write(w, r, code, body.Bytes())
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
	Error   string
	Expires moment
	Pinned  bool
	Overdue bool
	Shared  bool

	status domain.AliasStatus
}

// lastScrape is the last scrape of an alias, and those before it.
type lastScrape struct {
	Scraped moment
	Took    string
	Size    string
	Spark   *sparkline // nil for less than two scrapes
}

func (h *Handler) rowOf(a domain.AliasStatus, now time.Time) row {
	sum := sha256.Sum256([]byte(a.Alias))
	r := row{
		ID: hex.EncodeToString(sum[:8]), Alias: string(a.Alias), Link: h.linkPrefix + "/alias?name=" + url.QueryEscape(string(a.Alias)),
		Service: a.Service, Hostname: a.Hostname, Identity: a.Identity, State: conditionOf(a), Session: sessionWords(a),
		lastScrape: lastScrape{Scraped: momentAt(a.Scrape.At, now)}, Expires: momentAt(a.Expires, now), Pinned: a.Pinned, Overdue: a.Overdue, Shared: a.Shared, status: a, measured: measuredWords(a),
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
	switch {
	case a.Scrape.Err != nil:
		r.Error = errorWords(a.Scrape.Err)
	case !a.SessionUp && a.Why != nil:
		r.Error = errorWords(fmt.Errorf("%w: %w", domain.ErrNotConnected, a.Why))
	}
	return r
}

// choice is a link that filters the list by state.
type choice struct {
	ID     string
	Word   string
	Mark   string
	Class  string
	Count  int
	Link   string
	Chosen bool
}

// column is a column heading, which links to the sorted table.
type column struct {
	ID    string
	Name  string
	Link  string // empty: not sorted by
	Order string // aria-sort: ascending, descending, or empty
}

// listing is the data of the list.
type listing struct {
	Total   int
	Ready   bool
	Summary string // for screen readers
	States  []choice
	Query   string
	State   string
	Sort    string
	Shown   int
	First   int
	Last    int
	Columns []column
	Rows    []row
	Health  []fact // of the DHT node
	Paths   pathBar
	Newer   string // links to other pages
	Older   string
}

// view is the state in the URL.
type view struct {
	state condition // empty: all
	query string
	sort  string // a column, with a minus for descending order
	page  int
}

func viewOf(q url.Values) view {
	v := view{state: condition(q.Get("state")), query: strings.TrimSpace(q.Get("q")), sort: q.Get("sort"), page: 1}
	if !slices.Contains(conditions, v.state) {
		v.state = ""
	}
	v.query = v.query[:min(len(v.query), maxQuery)]
	if orders[strings.TrimPrefix(v.sort, "-")] == nil {
		v.sort = ""
	}
	if n, err := strconv.Atoi(q.Get("page")); err == nil && n > 0 {
		v.page = n
	}
	return v
}

// link returns the URL of a view after change.
func (v view) link(prefix string, change func(*view)) string {
	v.page = 1
	change(&v)
	q := url.Values{}
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	set("state", string(v.state))
	set("q", v.query)
	set("sort", v.sort)
	if v.page > 1 {
		q.Set("page", strconv.Itoa(v.page))
	}
	if len(q) == 0 {
		return prefix + "/"
	}
	return prefix + "/?" + q.Encode()
}

// orders are the comparison functions, by column. Equal rows stay in the order of their aliases.
var orders = map[string]func(a, b row) int{
	"alias":    func(a, b row) int { return strings.Compare(a.Alias, b.Alias) },
	"service":  func(a, b row) int { return strings.Compare(a.Service, b.Service) },
	"hostname": func(a, b row) int { return strings.Compare(a.Hostname, b.Hostname) },
	"state":    func(a, b row) int { return cmp.Compare(a.State.rank(), b.State.rank()) },
	"path":     func(a, b row) int { return cmp.Compare(b.status.Peer.Path, a.status.Peer.Path) },
	"address":  func(a, b row) int { return a.status.Peer.Addr.Compare(b.status.Peer.Addr) },
	"scrape":   func(a, b row) int { return b.status.Scrape.At.Compare(a.status.Scrape.At) },
	"expires":  func(a, b row) int { return a.status.Expires.Compare(b.status.Expires) },
}

var columns = []struct{ id, name string }{
	{"state", "State"}, {"alias", "Alias"}, {"service", "Service"}, {"hostname", "Hostname"}, {"path", "Path"}, {"address", "Remote address"},
	{"scrape", "Last scrape"}, {"expires", "Expires"},
}

func (v view) matches(r row) bool {
	if v.state != "" && r.State != v.state {
		return false
	}
	if v.query == "" {
		return true
	}
	text := strings.ToLower(strings.Join([]string{r.Alias, r.Service, r.Hostname, r.Address, r.Path, r.Error, r.Identity, r.status.Key.String()}, "\n"))
	for word := range strings.FieldsSeq(strings.ToLower(v.query)) {
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}

// health is the state of the scraper on the DHT.
type health struct {
	ready bool
	node  ports.NodeStatus
}

func (h health) facts() []fact {
	return []fact{
		{"DHT", sentence(h.node.State)}, {"DHT nodes known", strconv.Itoa(h.node.Nodes)}, {"DHT nodes with its record", strconv.Itoa(h.node.Announced)},
	}
}

// drawSparks draws the last scrapes of the rows of a page. Without an answer of the loop they have none.
func (h *Handler) drawSparks(r *http.Request, rows []row) {
	sparks, err := ask(r.Context(), h.cfg.Loop, func() []*sparkline {
		all := make([]*sparkline, len(rows))
		for i, row := range rows {
			if d, ok := h.cfg.Scraper.Alias(row.status.Alias); ok {
				all[i] = sparklineOf(d.Scrapes)
			}
		}
		return all
	})
	if err != nil {
		return
	}
	for i := range rows {
		rows[i].Spark = sparks[i]
	}
}

func (h *Handler) home(w http.ResponseWriter, r *http.Request) {
	all, err := h.list(r.Context())
	var is health
	if err == nil {
		is, err = ask(r.Context(), h.cfg.Loop, func() health { return health{h.cfg.Scraper.Ready(), h.cfg.Scraper.Node()} })
	}
	if err != nil {
		h.sorry(w, r, http.StatusServiceUnavailable, "No answer", "Try again in a moment: "+err.Error()+".")
		return
	}
	v, now := viewOf(r.URL.Query()), time.Now()
	counts := map[condition]int{}
	rows := make([]row, 0, len(all))
	for _, a := range all {
		row := h.rowOf(a, now)
		counts[row.State]++
		if v.matches(row) {
			rows = append(rows, row)
		}
	}
	if order := orders[strings.TrimPrefix(v.sort, "-")]; order != nil {
		slices.SortStableFunc(rows, func(a, b row) int {
			if strings.HasPrefix(v.sort, "-") {
				return order(b, a)
			}
			return order(a, b)
		})
	}
	l := listing{Total: len(all), Ready: is.ready, Health: is.facts(), Paths: barOf(all), Query: v.query, State: string(v.state), Sort: v.sort, Shown: len(rows)}
	l.Summary = summary(len(all), counts)
	l.States = h.choices(v, len(all), counts)
	l.Columns = h.heads(v)
	last := max(1, (len(rows)+pageRows-1)/pageRows)
	v.page = min(v.page, last)
	from := (v.page - 1) * pageRows
	to := min(from+pageRows, len(rows))
	l.Rows, l.First, l.Last = rows[from:to], from+1, to
	h.drawSparks(r, l.Rows)
	turn := func(to int) string { return v.link(h.linkPrefix, func(v *view) { v.page = to }) }
	if v.page > 1 {
		l.Newer = turn(v.page - 1)
	}
	if v.page < last {
		l.Older = turn(v.page + 1)
	}
	h.render(w, r, http.StatusOK, "aliases", l.Summary, l)
}

// summary formats the counts as a sentence, for the title and for screen readers.
func summary(total int, counts map[condition]int) string {
	text := fmt.Sprintf("%d up", counts[up])
	for _, c := range []condition{down, waiting, overdue} {
		if counts[c] > 0 || c == down {
			text += fmt.Sprintf(", %d %s", counts[c], c)
		}
	}
	return fmt.Sprintf("%s of %d", text, total)
}

func (h *Handler) choices(v view, total int, counts map[condition]int) []choice {
	all := []choice{{ID: "all", Word: "All", Count: total, Link: v.link(h.linkPrefix, func(v *view) { v.state = "" }), Chosen: v.state == ""}}
	for _, c := range []condition{up, down, waiting, overdue} {
		if c == overdue && counts[c] == 0 && v.state != c {
			continue
		}
		all = append(all, choice{
			ID: string(c), Word: c.Word(), Mark: c.Mark(), Class: string(c), Count: counts[c],
			Link: v.link(h.linkPrefix, func(v *view) { v.state = c }), Chosen: v.state == c,
		})
	}
	return all
}

func (h *Handler) heads(v view) []column {
	heads := make([]column, len(columns))
	for i, c := range columns {
		next := c.id
		heads[i] = column{ID: c.id, Name: c.name}
		switch v.sort {
		case c.id:
			heads[i].Order, next = "ascending", "-"+c.id
		case "-" + c.id:
			heads[i].Order = "descending"
		}
		heads[i].Link = v.link(h.linkPrefix, func(v *view) { v.sort = next })
	}
	return heads
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
		ok bool
	}
	f, err := ask(r.Context(), h.cfg.Loop, func() found {
		d, ok := h.cfg.Scraper.Alias(domain.Alias(name))
		return found{d, ok}
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
	Sessions     []fact
	Paths        []fact
	Registry     []fact
	Rejected     []fact
	Denied       []fact
	Counters     []fact
	Refusals     []refusal
	Damages      []damage
	Pins         []pinView
	Config       string
	Command      string
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
		Config: h.prometheusConfig(r), Command: h.cfg.ClientCommand,
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
	v.Registry = registryFacts(snap.stats)
	for _, reason := range domain.RejectionReasons() {
		if n := snap.stats.Rejected[reason]; n > 0 {
			v.Rejected = append(v.Rejected, fact{reasonWords(reason), strconv.FormatUint(n, 10)})
		}
	}
	for _, limit := range domain.Limits() {
		if n := snap.stats.ConnectionsDenied[limit]; n > 0 {
			v.Denied = append(v.Denied, fact{limitWords(limit), strconv.FormatUint(n, 10)})
		}
	}
	for _, c := range snap.node.Counters {
		name := strings.TrimSuffix(c.Help, ".")
		for _, l := range c.Labels {
			name += ", " + l.Value
		}
		v.Counters = append(v.Counters, fact{name, strconv.FormatUint(c.Value, 10)})
	}
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
	for _, p := range snap.pinned {
		v.Pins = append(v.Pins, pinView{
			Alias: string(p.Alias), Link: h.linkPrefix + "/alias?name=" + url.QueryEscape(string(p.Alias)), Key: p.Key.String(), Since: momentAt(p.Since, now),
		})
	}
	for _, i := range snap.identities {
		v.Identities = append(v.Identities, identityOf(i))
	}
	h.render(w, r, http.StatusOK, "node", "Node", v)
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
	if len(addrs) > 0 {
		facts = append(facts, fact{"Own addresses", strings.Join(addrs, ", ")})
	}
	return append(facts, fact{"Open streams", strconv.Itoa(n.Streams)}, fact{"Running for", span(now.Sub(h.started).Truncate(time.Second))})
}

func registryFacts(s domain.ScraperStats) []fact {
	n := func(v uint64) string { return strconv.FormatUint(v, 10) }
	return []fact{
		{"Connections open now", strconv.Itoa(s.AliasConnections)}, {"Registrations accepted", n(s.Registrations)},
		{"Aliases taken over by another key", n(s.Takeovers)}, {"Aliases expired", n(s.Expired)},
		{"Aliases whose client said goodbye", n(s.Left)}, {"Aliases forgotten by the operator", n(s.Forgotten)},
	}
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
