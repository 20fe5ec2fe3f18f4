package web

import (
	"unicode/utf8"

	"github.com/dhtprom/dhtprom/domain"
)

const (
	// shownLabels is the number of labels of a row; the alias's page has all of them.
	shownLabels = 3
	// labelText bounds a label in a row, and labelTitle its tooltip, in bytes.
	labelText  = 48
	labelTitle = 300
	// longName is the length in runes from which on a name in a row, which may be clipped, has a tooltip.
	longName = 24
)

// chip is one label of the operator in a row.
type chip struct {
	Text  string
	Title string // all of it, if the text is clipped
}

// chips are the first labels of an alias, and the number of the others.
type chips struct {
	Chips []chip
	More  int
}

func chipsOf(labels domain.Labels) (c chips) {
	for name, value := range labels.All() {
		if len(c.Chips) == shownLabels {
			c.More = labels.Len() - shownLabels
			break
		}
		whole := name + "=" + value
		one := chip{Text: shorten(whole, labelText)}
		if utf8.RuneCountInString(whole) > longName {
			one.Title = shorten(whole, labelTitle)
		}
		c.Chips = append(c.Chips, one)
	}
	return c
}

// shorten cuts a text to at most n bytes, between two runes.
func shorten(text string, n int) string {
	if len(text) <= n {
		return text
	}
	const dots = "…"
	end := n - len(dots)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + dots
}

// tooltip returns a name that may be clipped by the style sheet, empty for a short one.
func tooltip(name string) string {
	if utf8.RuneCountInString(name) <= longName {
		return ""
	}
	return name
}
