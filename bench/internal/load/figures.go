package load

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Quantile returns the one of durations, which it sorts, in milliseconds.
func Quantile(all []time.Duration, q float64) float64 {
	slices.Sort(all)
	return all[min(int(q*float64(len(all))), len(all)-1)].Seconds() * 1e3
}

// Median returns the median of the values, and the least and the greatest.
func Median[T cmp.Ordered](values []T) (median, least, greatest T) {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2], sorted[0], sorted[len(sorted)-1]
}

// Numbers parses positive numbers, separated by commas.
func Numbers(text string) (all []int, err error) {
	for field := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n <= 0 {
			return nil, fmt.Errorf("want positive numbers, got %q", field)
		}
		all = append(all, n)
	}
	return all, nil
}

// Size returns a number of bytes as text.
func Size(n int) string {
	if n >= 1e6 {
		return fmt.Sprintf("%g MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%g kB", float64(n)/1e3)
}

// Row returns a row of a table in Markdown.
func Row(cells ...string) string { return "| " + strings.Join(cells, " | ") + " |" }

// Head returns the head of a table in Markdown.
func Head(cells ...string) string { return Row(cells...) + "\n|" + strings.Repeat("---|", len(cells)) }
