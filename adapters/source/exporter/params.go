package exporter

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/dhtprom/dhtprom/adapters/source"
	"github.com/dhtprom/dhtprom/domain"
)

// query returns the query of a request to the exporter: that of the URL, with the parameters of the scrape in place of those with the same
// name. The error says which parameter is not allowed.
func (c *Config) query(asked string) (string, error) {
	if asked == "" {
		return c.URL.RawQuery, nil
	}
	params, err := url.ParseQuery(asked)
	if err != nil {
		return "", rejected("the parameters cannot be read: %s", err)
	}
	all := c.URL.Query()
	for _, name := range slices.Sorted(maps.Keys(params)) {
		switch {
		case slices.Contains(c.AllowParams, name):
			all[name] = params[name]
		case len(c.AllowParams) == 0:
			return "", source.ErrQuery
		default:
			return "", rejected("the target does not take the parameter %.100q, only %s", name, strings.Join(c.AllowParams, ", "))
		}
	}
	return all.Encode(), nil
}

func rejected(format string, args ...any) error {
	return &domain.ScrapeError{Fault: domain.FaultRequest, Reason: fmt.Sprintf(format, args...)}
}
