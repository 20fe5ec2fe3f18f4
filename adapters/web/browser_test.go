package web_test

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/web"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/interop/tool"
	"github.com/dhtprom/dhtprom/ports"
)

// plausible is a scraper with realistic data.
func plausible() *scraper {
	s := newScraper()
	now := time.Now()
	key := func(n int) (k domain.PublicKey) {
		for i := range k {
			k[i] = byte(n*31 + i*7 + n*i)
		}
		return k
	}
	add := func(alias, service, hostname string, change func(*domain.AliasStatus)) {
		n := len(s.aliases)
		a := domain.AliasStatus{
			Entry: domain.Entry{
				Alias: domain.Alias(alias), Key: key(n + 1), Service: service, Hostname: hostname,
				Registered: now.Add(-50 * time.Hour), Renewed: now.Add(-time.Duration(n*7) * time.Minute), Expires: now.Add(3*time.Hour - time.Duration(n*7)*time.Minute),
			},
			Session: domain.SessionOpen, SessionUp: true, Since: now.Add(-26 * time.Hour),
			Peer:   domain.Peer{Key: key(n + 1), Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(10 + n)}), uint16(49700+n)), Path: domain.PathPunched},
			Scrape: domain.Scrape{At: now.Add(-time.Duration(3+n) * time.Second), Took: time.Duration(38+13*n) * time.Millisecond, Bytes: 48_211 + 1000*n, Success: now.Add(-time.Duration(3+n) * time.Second)},
		}
		if change != nil {
			change(&a)
		}
		s.aliases = append(s.aliases, a)
	}
	add("backup-nas", "node_exporter", "nas.home", func(a *domain.AliasStatus) {
		a.Peer.Path, a.Peer.Addr = domain.PathLAN, netip.MustParseAddrPort("192.168.178.20:49737")
	})
	add("berlin-edge-1", "edge-gateway", "edge-1.berlin.example", func(a *domain.AliasStatus) {
		a.Pinned = true
		a.Labels, _ = domain.ParseLabels(map[string]string{"site": "berlin", "team": "edge", "rack": "r12", "tier": "gold", "owner": "anna"})
	})
	add("berlin-edge-2", "edge-gateway", "edge-2.berlin.example", func(a *domain.AliasStatus) {
		a.Session, a.SessionUp, a.Since = domain.SessionWaiting, false, time.Time{}
		a.Why = errors.New("timed out after 45s waiting for the connection")
		a.Scrape.Err = fmt.Errorf("%w: %w", domain.ErrNotConnected, a.Why)
	})
	add("customer/acme:9100", "postgres_exporter", "db01", func(a *domain.AliasStatus) { a.Peer.Path = domain.PathRelay })
	add("laptop-anna", "node_exporter", "anna-x1", func(a *domain.AliasStatus) {
		a.Scrape.Err = &domain.RemoteError{Message: "Failed to obtain metrics (uid 6f0d2b0e-6d1b-4f43-9b7a-3a1f5c2d7e90)"}
	})
	add("new-kiosk", "kiosk", "", func(a *domain.AliasStatus) {
		a.Session, a.SessionUp, a.Scrape, a.Since = domain.SessionConnecting, false, domain.Scrape{}, time.Time{}
	})
	add("<script>alert(1)</script>", "\"><img src=x onerror=alert(2)>", "' onmouseover='alert(3)", func(a *domain.AliasStatus) { a.Peer.Path = domain.PathDirect })
	s.details = map[string]domain.AliasDetail{}
	for _, a := range s.aliases {
		d := domain.AliasDetail{}
		for i := range 6 {
			at := now.Add(-time.Duration(90-15*i) * time.Second)
			r := domain.Scrape{At: at, Took: time.Duration(35+i) * time.Millisecond, Bytes: 48_000 + 17*i}
			if i == 2 {
				r.Err, r.Took = &domain.TimeoutError{Waiting: "the answer", After: 9500 * time.Millisecond}, 9500*time.Millisecond
			}
			d.Scrapes = append(d.Scrapes, r)
		}
		d.History = []domain.SessionChange{
			{State: domain.SessionOpen, First: now.Add(-50 * time.Hour), Last: now.Add(-50 * time.Hour), Count: 1, Peer: a.Peer},
			{State: domain.SessionWaiting, First: now.Add(-27 * time.Hour), Last: now.Add(-26 * time.Hour), Count: 61, Err: errors.New("peer not found")},
			{State: domain.SessionOpen, First: now.Add(-26 * time.Hour), Last: now.Add(-26 * time.Hour), Count: 1, Peer: a.Peer},
		}
		if recordHours(&d, now); a.Peer.Path == domain.PathRelay {
			d.Detour = domain.Detour{Reason: domain.DetourNotFound, Local: "consistent", Remote: "random", Cause: domain.CausePunchFailed}
		}
		s.details[string(a.Alias)] = d
	}
	s.node = ports.NodeStatus{
		State: "online", Local: netip.MustParseAddrPort("0.0.0.0:49737"), Addrs: []netip.AddrPort{netip.MustParseAddrPort("192.168.178.10:49737")},
		PublicAddr: netip.MustParseAddrPort("198.51.100.7:49737"), Firewalled: true, Ephemeral: true, NAT: "consistent", Nodes: 87, Announced: 20, Streams: 6,
		Counters: counters(),
	}
	s.refusals = []domain.Refusal{
		{First: now.Add(-time.Hour), Last: now.Add(-12 * time.Minute), Count: 14, Peer: domain.Peer{Key: key(90), Addr: netip.MustParseAddrPort("192.0.2.66:31337")}, Alias: "berlin-edge-1", Reason: domain.ReasonUnauthorised},
		{First: now.Add(-time.Minute), Last: now.Add(-time.Minute), Count: 1, Peer: domain.Peer{Key: key(91), Addr: netip.MustParseAddrPort("192.0.2.67:4001")}, Alias: "berlin-edge-1", Reason: domain.ReasonPinned},
	}
	s.ids = []domain.IdentityStatus{
		{Fingerprints: []string{"cafe0123"}, Aliases: len(s.aliases) - 1, Registrations: 412},
		{Name: "berlin", Fingerprints: []string{"0badf00d", "beefbabe"}, Patterns: []domain.AliasPattern{"berlin-*"}, Aliases: 1, Registrations: 7, Rejected: 3},
	}
	s.pins = []domain.Pin{{Alias: "berlin-edge-1", Key: key(2), Since: now.Add(-40 * 24 * time.Hour)}}
	return s
}

// counters are those of a node that has run for a while.
func counters() (all []ports.Counter) {
	add := func(name string, value uint64, labels ...ports.Label) {
		all = append(all, ports.Counter{Name: name, Help: "About " + name + ".", Value: value, Labels: labels})
	}
	for i, name := range []string{
		"dht_queries", "dht_requests", "dht_request_retries", "dht_request_timeouts", "dht_received_requests", "dht_received_responses", "dht_dropped_datagrams",
		"connections_opened", "connections_closed", "connections_broken", "path_changes", "handshakes_read", "handshakes_invalid", "handshakes_blocked",
		"udx_streams_opened", "udx_packets_received", "udx_retransmissions", "udx_black_holes", "state_errors", "holepunch_open", "holepunch_consistent",
		"holepunch_random", "holepunch_later", "nat_drifts", "relay_attempts", "relay_successes", "relay_aborts", "relay_refusals", "relay_upgrades",
		"path_takeovers", "handshake_answers_withheld", "added_later",
	} {
		add(name, uint64(i%4*i*i*311))
	}
	for _, kind := range []string{"consistent", "random"} {
		add("holepunch_results", 19, ports.Label{Name: "kind", Value: kind}, ports.Label{Name: "result", Value: "won"})
		add("holepunch_results", 0, ports.Label{Name: "kind", Value: kind}, ports.Label{Name: "result", Value: "lost"})
	}
	for _, reason := range []string{"address", "network", "queue", "relays", "sender", "share", "socket"} {
		add("handshakes_refused", 0, ports.Label{Name: "reason", Value: reason})
	}
	for _, reason := range []string{"message", "memory", "total"} {
		add("unproven_connections_closed", 0, ports.Label{Name: "reason", Value: reason})
	}
	for _, result := range []string{"withheld", "closed"} {
		add("unread_answers", 3, ports.Label{Name: "result", Value: result})
	}
	for _, reason := range []string{"size", "memory", "time"} {
		add("sets_dropped", 0, ports.Label{Name: "reason", Value: reason})
	}
	return all
}

// recordHours adds six hours of scrapes, with a minute offline and half an hour over a relay.
func recordHours(d *domain.AliasDetail, now time.Time) {
	for i := range 70 {
		e := domain.TimelineEntry{
			From: now.Truncate(domain.TimelineStep).Add(-time.Duration(69-i) * domain.TimelineStep), Scrapes: 20,
			Longest: time.Duration(35+(i*i)%17) * time.Millisecond, Bytes: 47_500 + 31*i,
		}
		switch {
		case i == 20 || i == 45:
			e.Failed, e.Longest = 2, 180*time.Millisecond
		case i == 46:
			e.Failed, e.Longest, e.Bytes = 20, 0, 0
		case i > 46 && i < 53:
			e.Longest += 60 * time.Millisecond
		}
		if i%12 == 3 {
			e.Registrations = 1
		}
		d.Timeline = append(d.Timeline, e)
	}
	at := func(before time.Duration, p domain.Path) {
		d.Paths = append(d.Paths, domain.PathSpan{From: now.Add(-before), Path: p})
	}
	at(26*time.Hour, domain.PathPunched)
	at(119*time.Minute, domain.PathUnknown)
	at(111*time.Minute, domain.PathRelay)
	at(80*time.Minute, domain.PathPunched)
}

func pageServer(t *testing.T, s *scraper) (at string) {
	t.Helper()
	return adminServer(t, s, func(c *web.Config) {
		c.ClientCommand = "dhtprom-client --scraper=" + s.PublicKey().String() + " --secret-file=FILE --alias=NAME --service=NAME"
	}).URL
}

func aliasURL(at, alias string) string { return at + "/alias?name=" + url.QueryEscape(alias) }

func TestPagesInARealBrowser(t *testing.T) {
	b := tool.StartBrowser(t)
	at := pageServer(t, plausible())
	urls := map[string]string{
		"list": at + "/", "down": at + "/?state=down", "alias": aliasURL(at, "berlin-edge-2"), "node": at + "/node", "relayed": aliasURL(at, "customer/acme:9100"), "labels": aliasURL(at, "berlin-edge-1"),
		"unknown": aliasURL(at, "nobody"), "none": at + "/?q=nothing+like+this",
	}
	for name, look := range map[string]tool.Look{
		"light": {Width: 1280, Height: 900}, "dark": {Width: 1280, Height: 900, Dark: true}, "phone": {Width: 390, Height: 844},
		"phone-dark": {Width: 360, Height: 740, Dark: true}, "noscript": {Width: 1280, Height: 900, NoScript: true}, "tablet": {Width: 820, Height: 1100},
	} {
		for page, u := range urls {
			if (page == "unknown" || page == "none" || page == "down" || page == "relayed" || page == "labels") && name != "phone" && name != "dark" {
				continue // more of the same
			}
			p := b.Open(u, look)
			if wide := p.Eval(`document.documentElement.scrollWidth - innerWidth`); wide != "0" && !strings.HasPrefix(wide, "-") {
				t.Errorf("%s %s is %s pixels too wide", page, name, wide)
			}
			if n := p.Eval(`document.querySelectorAll('main h1').length`); n != "1" {
				t.Errorf("%s %s has %s headings", page, name, n)
			}
			// Without the script no useless button is visible.
			hidden := p.Eval(`[...document.querySelectorAll('button')].filter(b => b.type === 'button' && b.offsetParent).length`)
			if look.NoScript != (hidden == "0") {
				t.Errorf("%s %s shows %s buttons", page, name, hidden)
			}
			if worst := p.Eval(contrast); worst != "" {
				t.Errorf("%s %s: too little contrast: %s", page, name, worst)
			}
			p.Picture("scraper-" + page + "-" + name)
		}
	}
}

// contrast lists text whose contrast with what is behind it is below 4.5 (WCAG 2.2, 1.4.3).
const contrast = `(() => {
  const rgb = c => (c.match(/[\d.]+/g) || []).map(Number)
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((s, v, i) => s + v * [.2126, .7152, .0722][i], 0)
  const behind = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] === 1) return c } return [255, 255, 255] }
  const bad = new Set()
  for (const e of document.querySelectorAll('body *')) {
    if (!e.offsetParent || ![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue
    const a = light(rgb(getComputedStyle(e).color)), b = light(behind(e))
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05)
    if (ratio < 4.5) bad.add(e.tagName + '.' + e.className + ' ' + ratio.toFixed(2))
  }
  return [...bad].join('; ')
})()`

func TestNamesFromTheNetworkStayText(t *testing.T) {
	b := tool.StartBrowser(t)
	at := pageServer(t, plausible())
	for _, u := range []string{at + "/", aliasURL(at, "<script>alert(1)</script>"), at + "/?q=" + url.QueryEscape(`"><script>alert(4)</script>`)} {
		p := b.Open(u, tool.Look{Width: 1280, Height: 900})
		if got := p.Eval(`document.querySelectorAll('main script, main img, [onmouseover], [onerror]').length`); got != "0" {
			t.Errorf("%s has %s elements of the client's making", u, got)
		}
	}
	p := b.Open(at+"/", tool.Look{Width: 1280, Height: 900})
	if got := p.Eval(`[...document.querySelectorAll('.c-alias a')].map(a => a.textContent).includes('<script>alert(1)</script>')`); got != "true" {
		t.Error("the name is not shown as it is")
	}
	// Even if it were an element, the policy keeps it from running.
	if got := p.Eval(`new Promise(done => { const s = document.createElement('script'); s.textContent = 'window.ran = true'; document.body.append(s); setTimeout(() => done(String(window.ran)), 100) })`); got != "undefined" {
		t.Error("a script in the page runs")
	}
}

func TestPageFollowsWhatHappens(t *testing.T) {
	b := tool.StartBrowser(t)
	s := plausible()
	l := newLoop(t)
	server := httptestServer(t, handlerWith(t, l, s, nil))
	p := b.Open(server+"/", tool.Look{Width: 1280, Height: 900})
	if got := p.Eval(`document.title`); got != "3 up, 2 down, 1 new of 7 – dhtprom" && got != "4 up, 2 down, 1 new of 7 – dhtprom" {
		t.Errorf("title %q", got)
	}
	p.Eval(`document.querySelector('.c-alias a').focus(); window.kept = document.activeElement.id; scrollTo(0, 50); true`)
	l.Post(func() {
		s.aliases = append(s.aliases[:1], s.aliases[2:]...) // one leaves
		one := s.aliases[1]                                 // which is down, too
		one.Alias = "aaa-first"
		s.aliases = append([]domain.AliasStatus{one}, s.aliases...) // one comes, before the others
	})
	p.Until(`[...document.querySelectorAll('.c-alias a')].map(a => a.textContent)[0] === 'aaa-first'`)
	if got := p.Eval(`document.querySelectorAll('table.rows tbody').length + ' ' + document.body.innerText.includes('berlin-edge-1')`); got != "7 false" {
		t.Errorf("rows: %s", got)
	}
	if got := p.Eval(`document.activeElement.id === window.kept`); got != "true" {
		t.Error("the focus was lost")
	}
	// A page that is paused stays as it is.
	p.Eval(`document.getElementById('pause').click()`)
	before := p.Eval(`document.getElementById('updated').textContent`)
	l.Post(func() { s.aliases = s.aliases[:2] })
	p.Eval(`new Promise(done => setTimeout(done, 6000))`)
	if got := p.Eval(`document.getElementById('updated').textContent`); got != before {
		t.Error("it goes on while it is paused")
	}
	p.Eval(`document.getElementById('pause').click()`)
	p.Until(`document.querySelectorAll('table.rows tbody').length === 2`)
}

func TestPageIsUsedWithTheKeyboardAlone(t *testing.T) {
	b := tool.StartBrowser(t)
	p := b.Open(pageServer(t, plausible())+"/", tool.Look{Width: 1280, Height: 900})
	p.Key("Tab", 9)
	if got := p.Eval(`document.activeElement.className`); got != "skip" {
		t.Errorf("the first stop is %q, want the way past the menu", got)
	}
	for range 30 {
		if p.Eval(`document.activeElement.id`) == "state-down" {
			break
		}
		p.Key("Tab", 9)
	}
	if outline := p.Eval(`getComputedStyle(document.activeElement).outlineStyle`); outline != "solid" {
		t.Errorf("the focus is not seen: %s", outline)
	}
	p.Key("Enter", 13)
	p.Until(`location.search === '?state=down' && document.readyState === 'complete'`)
	if got := p.Eval(`[...document.querySelectorAll('.rows .state')].every(s => s.textContent.includes('Down'))`); got != "true" {
		t.Error("healthy rows are not hidden")
	}
	// Texts for screen readers.
	var tree struct {
		Nodes []struct {
			Role, Name struct{ Value any }
			Ignored    bool
		}
	}
	p.Do("Accessibility.getFullAXTree", map[string]any{}, &tree)
	seen := map[string]bool{}
	for _, n := range tree.Nodes {
		if n.Ignored {
			continue
		}
		role, name := fmt.Sprint(n.Role.Value), fmt.Sprint(n.Name.Value)
		seen[role] = true
		if (role == "link" || role == "button" || role == "searchbox") && name == "" {
			t.Errorf("a %s without a name", role)
		}
	}
	for _, role := range []string{"main", "navigation", "search", "searchbox", "table", "columnheader", "rowheader", "status", "heading"} {
		if !seen[role] {
			t.Errorf("no %s", role)
		}
	}
}

func TestFiveThousandAliasesAreFine(t *testing.T) {
	b := tool.StartBrowser(t)
	s := plausible()
	one := s.aliases[0]
	s.aliases = nil
	for i := range 5000 {
		a := one
		a.Alias = domain.Alias(fmt.Sprintf("host-%04d", i))
		if i%100 == 7 {
			a.Scrape.Err = domain.ErrTimeout
		}
		s.aliases = append(s.aliases, a)
		s.details[string(a.Alias)] = domain.AliasDetail{Scrapes: slices.Repeat(s.details["backup-nas"].Scrapes, 2)}
	}
	at := pageServer(t, s)
	if _, body := get(t, at+"/", "Accept-Encoding", "gzip"); len(body) > 100_000 {
		t.Errorf("the list has %d bytes, compressed", len(body))
	}
	p := b.Open(at+"/?sort=alias", tool.Look{Width: 1280, Height: 900})
	// The cost of a page for a browser depends on its own rows only, not on the number of aliases.
	if n, err := strconv.Atoi(p.Eval(`String(performance.getEntriesByType('navigation')[0].decodedBodySize)`)); err != nil || n == 0 || n > 250_000 {
		t.Errorf("the list has %d bytes, %v", n, err)
	}
	if got := p.Eval(`document.title + ' ' + document.querySelectorAll('table.rows tbody').length`); got != "4950 up, 50 down of 5000 – dhtprom 200" {
		t.Errorf("%q", got)
	}
	p.Eval(`document.getElementById('page-after').click()`)
	p.Until(`document.readyState === 'complete' && document.querySelector('.c-alias a')?.textContent === 'host-0200'`)
	p = b.Open(at+"/?state=down&sort=-alias", tool.Look{Width: 1280, Height: 900})
	if got := p.Eval(`document.querySelectorAll('table.rows tbody').length + ' ' + document.querySelector('.c-alias a').textContent + ' ' + document.querySelector('[aria-sort]').textContent.trim()`); got != "50 host-4907 Alias ▾" {
		t.Errorf("%q", got)
	}
	if got := p.Eval(`(async () => { await refresh(); return 'done' })()`); got != "done" {
		t.Errorf("a look at what has changed: %q", got)
	}
}

// The counters that are zero are folded, and stay open once they were opened.
func TestFoldedCountersStayOpen(t *testing.T) {
	b := tool.StartBrowser(t)
	s := plausible()
	l := newLoop(t)
	p := b.Open(httptestServer(t, handlerWith(t, l, s, nil))+"/node", tool.Look{Width: 1280, Height: 900})
	if got := p.Eval(`document.querySelectorAll('#counters details').length > 3 && !document.querySelector('#counters details[open]')`); got != "true" {
		t.Fatal("the counters that are zero are not folded")
	}
	p.Eval(`document.querySelector('#zeros-limits summary').click()`)
	l.Post(func() { s.node.Counters[0].Value = 987654321 })
	p.Until(`document.getElementById('counters').innerText.includes('987654321')`)
	if got := p.Eval(`[...document.querySelectorAll('#counters details[open]')].map(d => d.id).join()`); got != "zeros-limits" {
		t.Errorf("open after a change: %s", got)
	}
}
