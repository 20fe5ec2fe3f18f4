package web_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/interop/tool"
)

// The longest names and labels fit a phone, and rows clip them.
func TestLongestNamesFitAPhone(t *testing.T) {
	b := tool.StartBrowser(t)
	s := plausible()
	long := s.aliases[0]
	long.Alias = domain.Alias(strings.Repeat("W", domain.MaxAlias))
	long.Hostname, long.Service = strings.Repeat("m", domain.MaxHostname), strings.Repeat("M", domain.MaxService)
	long.Identity = strings.Repeat("i", 64)
	labels := map[string]string{}
	for i := range 7 {
		labels[strings.Repeat("n", domain.MaxLabelName-1)+fmt.Sprint(i)] = strings.Repeat("W", domain.MaxLabelValue)
	}
	long.Labels, _ = domain.ParseLabels(labels)
	if long.Labels.Len() != 7 {
		t.Fatal("the labels are not valid")
	}
	s.aliases = append(s.aliases[:3:3], long)
	s.details[string(long.Alias)] = s.details["backup-nas"]
	at := pageServer(t, s)
	for name, look := range map[string]tool.Look{
		"phone": {Width: 320, Height: 700}, "tablet": {Width: 820, Height: 1100}, "desktop": {Width: 1280, Height: 900},
	} {
		for page, u := range map[string]string{"list": at + "/", "alias": aliasURL(at, string(long.Alias))} {
			p := b.Open(u, look)
			if wide := p.Eval(`document.documentElement.scrollWidth - innerWidth`); wide != "0" && !strings.HasPrefix(wide, "-") {
				t.Errorf("%s %s is %s pixels too wide", page, name, wide)
			}
			p.Picture("scraper-long-" + page + "-" + name)
			if page != "list" {
				if got := p.Eval(`document.body.innerText.includes('` + long.Hostname + `')`); got != "true" {
					t.Errorf("%s: the page of the alias clips its hostname", name)
				}
				continue
			}
			if got := p.Eval(`[...document.querySelectorAll('.clip')].filter(c => c.getBoundingClientRect().height > 2.6 * parseFloat(getComputedStyle(c).fontSize) * 1.5).length + ' of ' + document.querySelectorAll('.clip').length`); got != "0 of 3" {
				t.Errorf("%s: names of more than two lines: %s", name, got)
			}
			if got := p.Eval(`document.querySelector('.c-alias .clip').title.length + ' ' + document.querySelector('.c-hostname .clip').title.length`); got != "128 255" {
				t.Errorf("%s: the tooltips have %s characters", name, got)
			}
			if got := p.Eval(`[...document.querySelectorAll('tbody')].at(-1).querySelectorAll('.tag').length`); got != "4" {
				t.Errorf("%s: %s chips, want three labels and the number of the others", name, got)
			}
		}
	}
}
