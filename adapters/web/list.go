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
)

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
	Link  string
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
	Turn    look.Turn
	Columns []column
	Rows    []row
	Banner  banner // the DHT's health
	Health  []fact // of the DHT node
	Paths   pathBar
}

// view is the state in the URL.
type view struct {
	state condition // empty: all
	query string
	sort  string // a column, with a minus for descending order; empty: the worst first
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

// drawSparks draws the last scrapes of the rows of a page. Without an answer of the loop they have none.
func (h *Handler) drawSparks(r *http.Request, rows []row) {
	sparks, err := ask(r.Context(), h.cfg.Loop, func() []*sparkline {
		all := make([]*sparkline, len(rows))
		for i, row := range rows {
			all[i] = sparklineOf(h.cfg.Scraper.Scrapes(domain.Alias(row.Alias)))
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
		is, err = ask(r.Context(), h.cfg.Loop, func() health {
			return health{h.cfg.Scraper.Ready(), h.cfg.Scraper.Node(), membershipOf(h.cfg.Scraper)}
		})
	}
	if err != nil {
		h.sorry(w, r, http.StatusServiceUnavailable, "No answer", "Try again in a moment: "+err.Error()+".")
		return
	}
	v, now := viewOf(r.URL.Query()), time.Now()
	found, counts := v.choose(all, h.cfg.ScrapeTimeout/2)
	l := listing{
		Total: len(all), Ready: is.ready, Banner: is.banner(), Health: is.facts(), Paths: barOf(all),
		Query: v.query, State: string(v.state), Sort: v.sort,
	}
	l.Summary = summary(len(all), counts)
	l.States = h.choices(v, len(all), counts)
	l.Columns = h.heads(v)
	l.Turn = look.Turn{ID: "page", Label: "Pages of the list", Total: len(found)}
	from, to := l.Turn.Select(v.page, pageRows, func(page int) string { return v.link(h.linkPrefix, func(v *view) { v.page = page }) })
	for _, c := range found[from:to] {
		row := h.rowOf(*c.status, now)
		row.Slow = c.slow
		l.Rows = append(l.Rows, row)
	}
	h.drawSparks(r, l.Rows)
	h.render(w, r, http.StatusOK, "aliases", l.Summary, l)
}

// summary formats the counts as a sentence, for the title and for screen readers.
func summary(total int, counts map[condition]int) string {
	text := fmt.Sprintf("%d up", counts[up])
	for _, c := range []condition{down, waiting, overdue, away} {
		if counts[c] > 0 || c == down {
			text += fmt.Sprintf(", %d %s", counts[c], c)
		}
	}
	return fmt.Sprintf("%s of %d", text, total)
}

func (h *Handler) choices(v view, total int, counts map[condition]int) []choice {
	all := []choice{{ID: "all", Word: "All", Count: total, Link: v.link(h.linkPrefix, func(v *view) { v.state = "" }), Chosen: v.state == ""}}
	for _, c := range []condition{up, down, waiting, overdue, away} {
		if (c == overdue || c == away) && counts[c] == 0 && v.state != c {
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
		switch v.order() {
		case c.id:
			heads[i].Order, next = "ascending", "-"+c.id
		case "-" + c.id:
			heads[i].Order = "descending"
		}
		if next == worstFirst {
			next = "" // the default
		}
		heads[i].Link = v.link(h.linkPrefix, func(v *view) { v.sort = next })
	}
	return heads
}
