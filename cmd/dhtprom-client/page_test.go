package main

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/web/look"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/client"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/interop/tool"
	"github.com/dhtprom/dhtprom/ports"
)

// status returns the status of a client with n targets. Of every hundred, one fails and one is rejected.
func status(n int) client.Status {
	one := app.ClientScraperStatus{
		Key: domain.PublicKey{7}, Registered: true, Ago: 90 * time.Second, Next: time.Hour, Connections: 1, Requests: 312, Path: domain.PathPunched,
	}
	s := client.Status{
		ClientStatus: app.ClientStatus{Listening: true, Scrapers: []app.ClientScraperStatus{one}}, Node: ports.NodeStatus{State: "online", Nodes: 87, Announced: 20},
	}
	one.Requests = 3
	for i := range n {
		t := client.TargetStatus{
			Alias: domain.Alias(fmt.Sprintf("host-%04d", i)), Upstream: fmt.Sprintf("Exporter http://10.0.%d.%d:9100/metrics", i/256, i%256),
			Last: client.LastRequest{At: time.Now(), Bytes: 48_000 + i, Took: time.Duration(40+i) * time.Millisecond}, ClientStatus: app.ClientStatus{Scrapers: []app.ClientScraperStatus{one}},
		}
		switch i % 100 {
		case 7:
			t.Last.Err = errors.New("connection refused <b>")
		case 8:
			t.Scrapers = []app.ClientScraperStatus{{Key: one.Key, LastError: errors.New("the alias is pinned to another key")}}
		}
		s.Targets = append(s.Targets, t)
	}
	return s
}

// pageServer serves the page of a client with n targets. The files with the targets of a large one have faults.
func pageServer(t *testing.T, n int) string {
	var files error
	if n > 7 {
		files = errors.New("targets.json: unexpected end")
	}
	mux := http.NewServeMux()
	mux.Handle(look.StylePath, look.Style)
	mux.Handle(look.ScriptPath, look.Script)
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) {
		showPage(w, r, newView(status(n), domain.PublicKey{9}, files, pageNumber(r)))
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

func TestPageOfManyTargetsIsSmallAndShowsTheBrokenOnesFirst(t *testing.T) {
	at := pageServer(t, 5000)
	r, err := http.NewRequest(http.MethodGet, at+"/?page=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept-Encoding", "gzip")
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var size counted
	z, err := gzip.NewReader(io.TeeReader(res.Body, &size))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(z)
	if err != nil || size > 100_000 || res.Header.Get("Content-Security-Policy") != look.Policy {
		t.Errorf("%d bytes, %v, %v", size, err, res.Header)
	}
	text := string(body)
	for _, want := range []string{
		"4900 up, 100 broken of 5000", "host-0007", "host-4908", "connection refused &lt;b&gt;", "pinned to another key", "1m30s ago", "in 1h0m0s", "punched",
		"targets.json: unexpected end", "1–200 of 5000", `href="?page=2"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if n := strings.Count(text, "<tbody id="); n != maxShown || strings.Index(text, "host-4908") > strings.Index(text, "host-0000") {
		t.Errorf("%d targets, and the broken ones are not first", n)
	}
	for number, want := range map[int]look.Turn{
		-3: {First: 1, Last: 200, After: "?page=2"}, 2: {First: 201, Last: 400, Before: "?page=1", After: "?page=3"},
		25: {First: 4801, Last: 5000, Before: "?page=24"}, 99: {First: 4801, Last: 5000, Before: "?page=24"},
	} {
		want.ID, want.Label, want.Total = "page", "Pages of the list", 5000
		if v := newView(status(5000), domain.PublicKey{}, nil, number); v.Turn != want || len(v.Targets) != maxShown {
			t.Errorf("page %d: %+v, with %d targets", number, v.Turn, len(v.Targets))
		}
	}
}

// counted counts what is written.
type counted int

func (c *counted) Write(b []byte) (int, error) {
	*c += counted(len(b))
	return len(b), nil
}

// everyPage opens the page of clients with 0 targets, with 7 that are up, and with 12 and 5,000 of which some are broken, in light and dark colours, on a phone, and without its script.
func everyPage(t *testing.T, visit func(p *tool.Page, look tool.Look, n int, name string)) {
	b := tool.StartBrowser(t)
	for name, look := range map[string]tool.Look{
		"light": {Width: 1280, Height: 900}, "dark": {Width: 1280, Height: 900, Dark: true}, "phone": {Width: 360, Height: 740}, "phone-dark": {Width: 360, Height: 740, Dark: true},
		"noscript": {Width: 1280, Height: 900, NoScript: true},
	} {
		for _, n := range []int{0, 7, 12, 5000} {
			p := b.Open(pageServer(t, n)+"/", look)
			visit(p, look, n, fmt.Sprintf("client-%d-%s", n, name))
			p.Close()
		}
	}
}

func TestPageInARealBrowser(t *testing.T) {
	everyPage(t, func(p *tool.Page, look tool.Look, n int, name string) {
		if wide := p.Eval(`document.documentElement.scrollWidth - innerWidth`); wide != "0" && !strings.HasPrefix(wide, "-") {
			t.Errorf("%s: %s pixels too wide", name, wide)
		}
		if got := p.Eval(`getComputedStyle(document.querySelector('.bar')).display + ' ' + document.getElementById('pause').hidden`); got != fmt.Sprintf("flex %v", look.NoScript) {
			t.Errorf("%s: style and script: %s", name, got)
		}
		if !look.NoScript {
			if got := p.Eval(`(async () => { await refresh(); return document.querySelectorAll('.late').length + ' ' + document.querySelectorAll('#table tbody').length })()`); got != fmt.Sprintf("0 %d", min(n, maxShown)) {
				t.Errorf("%s: after an update: %s", name, got)
			}
		}
		p.Picture(name)
	})
}

func TestPageFollowsTheRulesOfAccessibility(t *testing.T) {
	everyPage(t, func(p *tool.Page, look tool.Look, n int, name string) {
		if look.NoScript || n == 5000 && look.Dark != (look.Width < 600) {
			return // axe-core is a script; a large page takes it seconds
		}
		for _, v := range p.Violations() {
			t.Errorf("%s: %s", name, v)
		}
	})
}

// stop describes the element with the focus: its text, its place on the page, and whether the focus is visible on it.
const stop = `(() => {
  const e = document.activeElement, r = e.getBoundingClientRect(), s = getComputedStyle(e)
  return JSON.stringify({ Text: e === document.body ? '' : e.textContent.trim(), Top: r.top + scrollY, Bottom: r.bottom + scrollY, Left: r.left, Right: r.right, Outline: s.outlineStyle + ' ' + s.outlineWidth })
})()`

func TestPageIsUsedWithTheKeyboardAlone(t *testing.T) {
	b := tool.StartBrowser(t)
	for _, look := range []tool.Look{{Width: 1280, Height: 900}, {Width: 360, Height: 740}} {
		p := b.Open(pageServer(t, 5000)+"/?page=2", look)
		p.Eval(`document.getElementById('pause').click()`) // updates replace the links
		want := p.Eval(`JSON.stringify([...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex="0"]')].map(e => e.textContent.trim()))`)
		var got []string
		last := struct{ Bottom, Right float64 }{}
		for len(got) < 100 {
			p.Key("Tab", 9)
			var s struct {
				Text, Outline            string
				Top, Bottom, Left, Right float64
			}
			if err := json.Unmarshal([]byte(p.Eval(stop)), &s); err != nil {
				t.Fatal(err)
			}
			if s.Text == "" || len(got) > 0 && s.Text == got[0] {
				break // past the last one
			}
			if s.Outline != "solid 3px" {
				t.Errorf("the focus is not visible on %q: %s", s.Text, s.Outline)
			}
			// The link past the menu appears over the others.
			if len(got) > 1 && s.Bottom <= last.Bottom && s.Left < last.Right {
				t.Errorf("%q comes after %q, but is not below it or right of it", s.Text, got[len(got)-1])
			}
			if s.Left < 0 || s.Right > float64(look.Width) || s.Top < 0 || s.Bottom-s.Top < 10 {
				t.Errorf("%q is not visible: %+v", s.Text, s)
			}
			last.Bottom, last.Right = s.Bottom, s.Right
			got = append(got, s.Text)
		}
		if text, err := json.Marshal(got); err != nil || string(text) != want || strings.Join(got, " ") != "Skip to content dhtprom-client Go on Back Next Metrics Readiness" {
			t.Errorf("Tab reaches %q, want %s; %v", got, want, err)
		}
		// Each of them works by Enter.
		press := func(text string) {
			for range len(got) + 1 { // around the page, if need be
				if p.Eval(`document.activeElement.textContent.trim()`) == text {
					break
				}
				p.Key("Tab", 9)
			}
			p.Key("Enter", 13)
		}
		press("Skip to content")
		p.Until(`document.activeElement.id === 'main'`)
		press("Go on")
		p.Until(`document.getElementById('pause').textContent === 'Pause'`)
		press("Pause")
		p.Until(`document.getElementById('pause').textContent === 'Go on'`)
		press("Next")
		p.Until(`location.search === '?page=3' && document.readyState === 'complete' && document.querySelector('.turn').textContent.includes('401–600')`)
		p.Close()
	}
}
