package web

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/domain"
)

func TestListHasTheWorstFirst(t *testing.T) {
	at, fail := time.Unix(1, 0), errors.New("x")
	alias := func(name string, change func(*domain.AliasStatus)) domain.AliasStatus {
		a := domain.AliasStatus{Entry: domain.Entry{Alias: domain.Alias(name)}, SessionUp: true, Scrape: domain.Scrape{At: at, Took: time.Millisecond}}
		change(&a)
		return a
	}
	all := []domain.AliasStatus{
		alias("a-up", func(*domain.AliasStatus) {}),
		alias("b-slow", func(a *domain.AliasStatus) { a.Scrape.Took = 2 * time.Second }),
		alias("c-new", func(a *domain.AliasStatus) { a.Scrape, a.SessionUp = domain.Scrape{}, false }),
		alias("d-late", func(a *domain.AliasStatus) { a.Scrape.Err, a.Scrape.Took = fail, 9*time.Second }),
		alias("e-expired", func(a *domain.AliasStatus) { a.Overdue = true }),
		alias("f-lost", func(a *domain.AliasStatus) { a.SessionUp, a.Why = false, fail }),
		alias("g-up", func(*domain.AliasStatus) {}),
	}
	for sort, want := range map[string]string{
		"":         "d-late f-lost e-expired c-new b-slow a-up g-up",
		"state":    "d-late f-lost e-expired c-new b-slow a-up g-up",
		"-state":   "a-up g-up b-slow c-new e-expired d-late f-lost",
		"nonsense": "d-late f-lost e-expired c-new b-slow a-up g-up",
		"alias":    "a-up b-slow c-new d-late e-expired f-lost g-up",
		"-alias":   "g-up f-lost e-expired d-late c-new b-slow a-up",
	} {
		found, counts := viewOf(map[string][]string{"sort": {sort}}).choose(all, time.Second)
		var names []string
		for _, c := range found {
			names = append(names, string(c.status.Alias))
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%q: %s, want %s", sort, got, want)
		}
		if counts[up] != 3 || counts[down] != 2 || counts[overdue] != 1 || counts[waiting] != 1 {
			t.Errorf("counts %v", counts)
		}
	}
	// The heading of the default order is that of the state, and leads to the reverse order; others lead back to it.
	h := &Handler{}
	if first := h.heads(view{})[0]; first.Order != "ascending" || first.Link != "/?sort=-state" {
		t.Errorf("%+v", first)
	}
	if first := h.heads(view{sort: "alias"})[0]; first.Order != "" || first.Link != "/" {
		t.Errorf("%+v", first)
	}
}

func TestSearchFindsLabelsAndReasons(t *testing.T) {
	labels, err := domain.ParseLabels(map[string]string{"site": "Berlin"})
	if err != nil {
		t.Fatal(err)
	}
	all := []domain.AliasStatus{
		{Entry: domain.Entry{Alias: "one", Labels: labels}},
		{Entry: domain.Entry{Alias: "two", Hostname: "berlin-2"}, Why: errors.New("no relay answers")},
		{Entry: domain.Entry{Alias: "three"}, SessionUp: true, Peer: domain.Peer{Path: domain.PathRelay}},
	}
	for query, want := range map[string]string{
		"site=berlin": "one", "berlin": "two one", "BERLIN relay": "two", "relayed": "three", "nothing": "", "": "two one three",
	} {
		found, _ := view{query: query}.choose(all, time.Second)
		var names []string
		for _, c := range found {
			names = append(names, string(c.status.Alias))
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%q finds %q, want %q", query, got, want)
		}
	}
}

func TestRowsHaveTheFirstLabels(t *testing.T) {
	labels := func(n int) domain.Labels {
		all := map[string]string{}
		for i := range n {
			all[fmt.Sprintf("label_%02d", i)] = strings.Repeat("ä", 10*i)
		}
		l, err := domain.ParseLabels(all)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	for n, want := range map[int]struct{ chips, more int }{0: {0, 0}, 2: {1, 0}, 4: {3, 0}, 5: {3, 1}, 20: {3, 16}} {
		if got := chipsOf(labels(n)); len(got.Chips) != want.chips || got.More != want.more {
			t.Errorf("%d labels, the first of them empty: %+v", n, got)
		}
	}
	got := chipsOf(labels(4)).Chips
	want := []chip{
		{Text: "label_01=ääääääääää"},
		{Text: "label_02=" + strings.Repeat("ä", 18) + "…", Title: "label_02=" + strings.Repeat("ä", 20)},
		{Text: "label_03=" + strings.Repeat("ä", 18) + "…", Title: "label_03=" + strings.Repeat("ä", 30)},
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	for _, n := range []int{labelText - 1, labelText, labelText + 1} {
		if got := shorten(strings.Repeat("x", n), labelText); len(got) > labelText || n <= labelText && len(got) != n {
			t.Errorf("%d bytes become %d", n, len(got))
		}
	}
}

func TestBannerNamesTheStateOfTheDHT(t *testing.T) {
	for _, c := range []struct {
		node  string
		ready bool
		nodes int
		word  string
		class string
	}{
		{"starting", false, 0, "DHT starting", "new"},
		{"online", false, 0, "DHT starting", "new"},
		{"online", true, 20, "DHT healthy", "up"},
		{"online", true, 0, "DHT without its record", "expired"},
		{"degraded", true, 20, "DHT degraded", "expired"},
		{"offline", true, 0, "DHT unreachable", "down"},
		{"offline", false, 0, "DHT unreachable", "down"},
		{"closed", true, 0, "DHT closed", "down"},
	} {
		h := health{ready: c.ready}
		h.node.State, h.node.Announced = c.node, c.nodes
		if got := h.banner(); got.Word != c.word || got.Class != c.class || got.Mark == "" || got.Text == "" {
			t.Errorf("%s, ready %v, %d nodes: %+v", c.node, c.ready, c.nodes, got)
		}
	}
}
