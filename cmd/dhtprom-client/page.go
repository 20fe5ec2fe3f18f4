package main

import (
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/dhtprom/dhtprom/adapters/web/look"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/client"
	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/domain"
)

// The page shows the scrapers and the targets, those that need attention first. It has no secrets, and works without its script.

//go:embed page.html
var pageFile embed.FS

var page = template.Must(look.Templates().ParseFS(pageFile, "page.html"))

// maxShown bounds the targets on a page.
const maxShown = 200

// view is the content of the page.
type view struct {
	client.Status
	Key       domain.PublicKey
	Files     error // faults of files with targets
	Summary   string
	Announced int
	Broken    int
	Scrapers  []scraperView
	Targets   []targetView
	Turn      look.Turn
}

// scraperView is one scraper on the page.
type scraperView struct {
	app.ClientScraperStatus
	Since, Next, Error, Way string
}

// targetView is one target on the page.
type targetView struct {
	client.TargetStatus
	ID, Class, Mark, State string
	At                     moment
	Took, Size             string
	Errors                 []string
}

// moment is a time on the page.
type moment struct {
	Zero       bool
	ISO, Words string
}

func momentOf(t time.Time) moment {
	return moment{t.IsZero(), t.UTC().Format(time.RFC3339), t.UTC().Format("2006-01-02 15:04:05 UTC")}
}

func newView(s client.Status, key domain.PublicKey, files error, number int) view {
	v := view{Status: s, Key: key, Files: files, Announced: s.Node.Announced}
	for _, one := range s.Scrapers {
		v.Scrapers = append(v.Scrapers, scraperViewOf(one))
	}
	good := 0
	for i := range s.Targets {
		t := targetViewOf(&s.Targets[i])
		if len(t.Errors) > 0 {
			v.Broken++
		} else if t.State == up {
			good++
		}
		v.Targets = append(v.Targets, t)
	}
	v.Summary = fmt.Sprintf("%d up, %d broken of %d", good, v.Broken, len(v.Targets))
	slices.SortStableFunc(v.Targets, func(a, b targetView) int { return cmp.Compare(min(len(b.Errors), 1), min(len(a.Errors), 1)) })
	v.Turn = look.Turn{ID: "page", Label: "Pages of the list", Total: len(v.Targets)}
	from, to := v.Turn.Select(number, maxShown, func(page int) string { return "?page=" + strconv.Itoa(page) })
	v.Targets = v.Targets[from:to]
	return v
}

func scraperViewOf(s app.ClientScraperStatus) scraperView {
	v := scraperView{ClientScraperStatus: s, Since: "never", Next: "now", Way: "–"}
	if s.Connections > 0 {
		v.Way = s.Path.String()
	}
	if s.Ago > 0 {
		v.Since = s.Ago.Truncate(time.Second).String() + " ago"
	}
	if s.Next > 0 {
		v.Next = "in " + s.Next.Truncate(time.Second).String()
	}
	if s.LastError != nil {
		v.Error = describe(s.LastError)
	}
	return v
}

// The states of a target.
const (
	up     = "Up"
	broken = "Broken"
	unseen = "New"
)

func targetViewOf(t *client.TargetStatus) targetView {
	sum := sha256.Sum256([]byte(t.Alias))
	v := targetView{TargetStatus: *t, ID: hex.EncodeToString(sum[:8]), Class: "new", Mark: "○", State: unseen, At: momentOf(t.Last.At)}
	switch {
	case t.Last.At.IsZero():
	case t.Last.Err != nil:
		v.Errors = append(v.Errors, "Last scrape: "+t.Last.Err.Error())
	default:
		v.Class, v.Mark, v.State = "up", "●", up
		v.Took, v.Size = t.Last.Took.Round(time.Microsecond).String(), fmt.Sprintf("%d bytes", t.Last.Bytes)
	}
	for _, s := range t.Scrapers {
		if s.LastError != nil {
			v.Errors = append(v.Errors, fmt.Sprintf("Not registered with %s: %s", s.Key.Short(), describe(s.LastError)))
		}
	}
	if len(v.Errors) > 0 {
		v.Class, v.Mark, v.State = "down", "▲", broken
	}
	return v
}

// few quotes aliases, the first of them if they are many.
func few(aliases []domain.Alias) string {
	const shown = 10
	text := fmt.Sprintf("%q", aliases[:min(len(aliases), shown)])
	if len(aliases) > shown {
		text += fmt.Sprintf(" and %d more", len(aliases)-shown)
	}
	return text
}

// describe describes a failed registration.
func describe(err error) string { return domain.Describe(err, domain.PeerScraper) }

// pageNumber returns the page of the list that a request selects.
func pageNumber(r *http.Request) int {
	n, err := strconv.Atoi(r.URL.Query().Get("page"))
	if err != nil {
		return 1
	}
	return n
}

func showPage(w http.ResponseWriter, r *http.Request, v view) {
	look.Frame{
		Title: v.Summary, Brand: "dhtprom-client", Program: "dhtprom-client", Version: cli.Version(), Prefix: ".", Now: time.Now(), Data: v,
		Programs: []look.Link{{Name: "Metrics", URL: "metrics"}, {Name: "Readiness", URL: "-/ready"}},
	}.Show(w, r, http.StatusOK, page.Lookup("page.html"))
}
