// Package page generates metrics pages of any size from a page of node_exporter.
package page

import (
	_ "embed"
	"fmt"
	"math/rand/v2"
	"strings"
)

//go:embed node_exporter.txt
var nodeExporter string

// NodeExporter returns a page of node_exporter 1.5.0, with all of its default collectors, on a machine with two processors.
func NodeExporter() string { return nodeExporter }

// New returns a page of size bytes or somewhat less, in whole lines. Beyond the first 58 kB, it repeats the page of node_exporter with other
// names and values, so that it compresses as well as pages of that size do. The same arguments return the same page.
func New(size int) string {
	random := rand.New(rand.NewPCG(1, uint64(size)))
	var b strings.Builder
	for copies := 0; ; copies++ {
		for line := range strings.Lines(nodeExporter) {
			if copies > 0 {
				line = vary(line, copies, random)
			}
			if b.Len()+len(line) > size {
				return b.String()
			}
			b.WriteString(line)
		}
	}
}

// vary returns a line with another metric name, and another value where it has one of several digits.
func vary(line string, n int, random *rand.Rand) string {
	line = strings.Replace(line, "node_", fmt.Sprintf("node%d_", n), 1)
	if strings.HasPrefix(line, "#") {
		return line
	}
	at := strings.LastIndexByte(line, ' ') + 1
	value := []byte(line[at:])
	for i, c := range value {
		if c == 'e' {
			break // the exponent stays
		}
		if i > 0 && c >= '0' && c <= '9' && len(value) > 3 {
			value[i] = '0' + byte(random.IntN(10))
		}
	}
	return line[:at] + string(value)
}
