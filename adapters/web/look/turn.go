package look

// Turn is one page of a list, with links to those before and after it. The template turn shows it.
type Turn struct {
	ID            string // for the page's script
	Label         string
	First, Last   int // of Total, from 1
	Total         int
	Before, After string // empty for none
}

// Select selects a page of a list, or the nearest one that there is, and returns the indexes of its rows.
func (t *Turn) Select(number, rows int, link func(page int) string) (from, to int) {
	last := max(1, (t.Total+rows-1)/rows)
	number = min(max(number, 1), last)
	from = (number - 1) * rows
	to = min(from+rows, t.Total)
	t.First, t.Last = from+1, to
	if number > 1 {
		t.Before = link(number - 1)
	}
	if number < last {
		t.After = link(number + 1)
	}
	return from, to
}
