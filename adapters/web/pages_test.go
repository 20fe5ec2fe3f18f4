package web_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/interop/tool"
)

// fleet is a scraper with n aliases, which resemble those of plausible in turns. A large one has as many identities, rejected
// registrations and pins as operators have at most.
func fleet(n int) *scraper {
	s := plausible()
	models := s.aliases
	s.aliases, s.pins = nil, s.pins[:min(n, 1)]
	for i := range n {
		a := models[i%len(models)]
		d := s.details[string(a.Alias)]
		if i >= len(models) {
			a.Alias = domain.Alias(fmt.Sprintf("host-%04d", i))
			a.Key[0], a.Key[1] = byte(i), byte(i>>8)
		}
		s.aliases = append(s.aliases, a)
		s.details[string(a.Alias)] = d
	}
	if n == 0 {
		s.refusals, s.ids = nil, s.ids[:1]
		s.ids[0].Aliases, s.ids[0].Registrations = 0, 0
	}
	for i := range n / 16 {
		s.ids = append(s.ids, domain.IdentityStatus{
			Name: fmt.Sprintf("site-%03d", i), Fingerprints: []string{fmt.Sprintf("%08x", i*7919)}, Patterns: []domain.AliasPattern{domain.AliasPattern(fmt.Sprintf("site-%03d-*", i))}, Aliases: 16,
		})
		s.pins = append(s.pins, domain.Pin{Alias: domain.Alias(fmt.Sprintf("host-%04d", 16*i)), Key: domain.PublicKey{byte(i)}, Since: time.Now().Add(-time.Hour)})
	}
	return s
}

// everyLook are the colours and sizes in which all pages are judged.
var everyLook = map[string]tool.Look{
	"light": {Width: 1280, Height: 900}, "dark": {Width: 1280, Height: 900, Dark: true},
	"phone": {Width: 390, Height: 844}, "phone-dark": {Width: 360, Height: 740, Dark: true},
}

// everyPage opens each page of scrapers with 0, 12 and 5,000 aliases in each look that is wanted for that number. The page of an alias
// is that of a failing one.
func everyPage(t *testing.T, wanted func(n int, look string) bool, visit func(p *tool.Page, name string)) {
	b := tool.StartBrowser(t)
	for _, n := range []int{0, 12, 5000} {
		at := pageServer(t, fleet(n))
		for page, url := range map[string]string{"aliases": at + "/", "alias": aliasURL(at, "berlin-edge-2"), "node": at + "/node"} {
			for name, look := range everyLook {
				if !wanted(n, name) {
					continue
				}
				p := b.Open(url, look)
				visit(p, fmt.Sprintf("scraper-%s-%d-%s", page, n, name))
				p.Close()
			}
		}
	}
}

func TestPagesFollowTheRulesOfAccessibility(t *testing.T) {
	wanted := func(n int, look string) bool {
		return tool.Pictured() || n < 5000 || look == "light" || look == "phone-dark" // large pages take seconds each
	}
	everyPage(t, wanted, func(p *tool.Page, name string) {
		if tool.Pictured() {
			p.Picture(name)
		}
		p.Eval(`document.querySelectorAll('details').forEach(d => { d.open = true })`)
		for _, v := range p.Violations() {
			t.Errorf("%s: %s", name, v)
		}
	})
}

func TestNodeHasItsIdentitiesAndPinsInPages(t *testing.T) {
	s := fleet(5000)
	at := httptestServer(t, handlerWith(t, newLoop(t), s, nil))
	rows := func(body, section string) int {
		_, after, _ := strings.Cut(body, `<section id="`+section+`"`)
		of, _, _ := strings.Cut(after, "</section>")
		return strings.Count(of, `<tr><th scope="row">`)
	}
	seen := map[string]bool{}
	for page := 1; ; page++ {
		_, body := get(t, fmt.Sprintf("%s/node?pins=3&identities=%d", at, page))
		if n := rows(body, "pins"); n != 50 || !strings.Contains(body, "101–150 of 313") {
			t.Errorf("page %d: %d pins on the third page", page, n)
		}
		for _, i := range s.ids {
			if name := domain.IdentityTitle(i.Name); strings.Contains(body, `<th scope="row">`+name+`</th>`) {
				if seen[name] {
					t.Errorf("%s is on two pages", name)
				}
				seen[name] = true
			}
		}
		if next := fmt.Sprintf(`href="/node?identities=%d&amp;pins=3#identities"`, page+1); !strings.Contains(body, next) {
			if n := rows(body, "identities"); page != 7 || n != 314-6*50 || len(seen) != len(s.ids) {
				t.Errorf("%d pages, %d of %d identities, the last page with %d", page, len(seen), len(s.ids), n)
			}
			break
		}
	}
	for query, want := range map[string]string{"": "1–50 of 314", "?identities=99": "301–314 of 314", "?identities=-7&pins=x": "1–50 of 314"} {
		if _, body := get(t, at+"/node"+query); !strings.Contains(body, want) {
			t.Errorf("/node%s lacks %s", query, want)
		}
	}
}
