package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/bench/internal/load"
)

// notMeasured is the cell of a system that is not installed.
const notMeasured = "not measured"

// machine describes this machine and the versions, as a paragraph.
func machine(ctx context.Context, o options) string {
	output := func(name string, args ...string) string {
		out, err := exec.CommandContext(ctx, name, args...).Output()
		if err != nil {
			return notMeasured
		}
		return strings.TrimSpace(string(out))
	}
	version := func(name string) string {
		var p struct{ Version string }
		text, _ := os.ReadFile(filepath.Join(filepath.Dir(o.script), "..", "..", "interop", "js", "node_modules", name, "package.json"))
		if json.Unmarshal(text, &p) != nil {
			return name + " " + notMeasured
		}
		return name + " " + p.Version
	}
	return fmt.Sprintf("Measured on %s, at commit %s: %s, %d cores, Linux %s; %s; Node.js %s with %s. Load average before the start: %s. Cells: median of %d rounds (least–greatest).\n",
		time.Now().UTC().Format(time.DateOnly), output("git", "rev-parse", "--short", "HEAD"), field("/proc/cpuinfo", "model name"), runtime.NumCPU(),
		field("/proc/sys/kernel/osrelease", ""), runtime.Version(), output("node", "--version"),
		strings.Join([]string{version("hyperdht"), version("dht-prom-client"), version("udx-native")}, ", "), loadAverage(), o.rounds)
}

// field returns the value of a key in a file of /proc, or the first line if the key is empty.
func field(file, key string) string {
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, key); ok {
			return strings.TrimLeft(strings.TrimSpace(value), ": \t")
		}
	}
	return "unknown"
}

// loadAverage returns the one of the last minute: programs that run or wait for a core.
func loadAverage() string {
	average, _, _ := strings.Cut(field("/proc/loadavg", ""), " ")
	return average
}

// cell returns the median of the rounds, and the least and the greatest.
func cell(values []float64) string {
	if len(values) == 0 {
		return "–"
	}
	m, least, greatest := load.Median(values)
	if len(values) == 1 {
		return number(m)
	}
	return fmt.Sprintf("%s (%s–%s)", number(m), number(least), number(greatest))
}

// number returns a value with three significant digits or more, and with commas.
func number(v float64) string {
	switch {
	case v >= 100:
		text := strconv.FormatFloat(v, 'f', 0, 64)
		for i := len(text) - 3; i > 0; i -= 3 {
			text = text[:i] + "," + text[i:]
		}
		return text
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case v >= 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}
