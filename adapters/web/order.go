package web

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/domain"
)

// candidate is an alias of the list, with what its order depends on. Only those on the page that is shown become rows.
type candidate struct {
	status *domain.AliasStatus
	state  condition
	slow   bool // it is up, and its last scrape took long
}

// worstFirst is the column of the default order: aliases that fail, expired ones, those without a result yet, slow ones, the others.
const worstFirst = "state"

// orders are the comparison functions, by column. Equal aliases stay in the order of their names.
var orders = map[string]func(a, b candidate) int{
	"alias":    func(a, b candidate) int { return strings.Compare(string(a.status.Alias), string(b.status.Alias)) },
	"service":  func(a, b candidate) int { return strings.Compare(a.status.Service, b.status.Service) },
	"hostname": func(a, b candidate) int { return strings.Compare(a.status.Hostname, b.status.Hostname) },
	worstFirst: func(a, b candidate) int { return cmp.Compare(a.rank(), b.rank()) },
	"path":     func(a, b candidate) int { return cmp.Compare(b.status.Peer.Path, a.status.Peer.Path) },
	"address":  func(a, b candidate) int { return a.status.Peer.Addr.Compare(b.status.Peer.Addr) },
	"scrape":   func(a, b candidate) int { return b.status.Scrape.At.Compare(a.status.Scrape.At) },
	"expires":  func(a, b candidate) int { return a.status.Expires.Compare(b.status.Expires) },
}

var columns = []struct{ id, name string }{
	{worstFirst, "State"}, {"alias", "Alias"}, {"service", "Service"}, {"hostname", "Hostname"}, {"path", "Path"}, {"address", "Remote address"},
	{"scrape", "Last scrape"}, {"expires", "Expires"},
}

// rank is the place of the state, the worst first.
func (c candidate) rank() int {
	rank := 2 * c.state.rank()
	if c.slow {
		rank--
	}
	return rank
}

// order returns the column of the view's order, with a minus for descending order.
func (v view) order() string { return cmp.Or(v.sort, worstFirst) }

// choose returns the aliases of a view in its order, and counts all of them by state. Scrapes that take slow or longer are slow.
func (v view) choose(all []domain.AliasStatus, slow time.Duration) (found []candidate, counts map[condition]int) {
	counts = map[condition]int{}
	found = make([]candidate, 0, len(all))
	words := strings.Fields(strings.ToLower(v.query))
	for i := range all {
		c := candidate{status: &all[i], state: conditionOf(all[i])}
		c.slow = c.state == up && c.status.Scrape.Took >= slow
		counts[c.state]++
		if (v.state == "" || v.state == c.state) && c.matches(words) {
			found = append(found, c)
		}
	}
	column, descending := strings.CutPrefix(v.order(), "-")
	order := orders[column]
	slices.SortStableFunc(found, func(a, b candidate) int {
		if descending {
			return order(b, a)
		}
		return order(a, b)
	})
	return found, counts
}

// matches reports whether an alias has all words, which are in lower case.
func (c candidate) matches(words []string) bool {
	if len(words) == 0 {
		return true
	}
	a := c.status
	text := []string{string(a.Alias), a.Service, a.Hostname, troubleOf(*a), a.Identity, a.Key.String()}
	if a.SessionUp {
		word, _ := pathWords(a.Peer.Path)
		text = append(text, word, a.Peer.Addr.String())
	}
	for name, value := range a.Labels.All() {
		text = append(text, name+"="+value)
	}
	whole := strings.ToLower(strings.Join(text, "\n"))
	return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(whole, word) })
}
