package sim

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// ParseSeeds parses a list of runs that once failed, one per line: the arguments of the command, as in the line that
// replays a run. Empty lines and text after # are skipped.
//
//	-scenario chaos -seed 17 -nodes 8 -clients 2 -for 5m    # a session was nudged twice
func ParseSeeds(r io.Reader) ([]Options, error) {
	var all []Options
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		o, err := parseArgs(fields)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if err := o.Check(); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		all = append(all, o)
	}
	return all, lines.Err()
}

func parseArgs(fields []string) (o Options, err error) {
	if len(fields)%2 != 0 {
		return o, fmt.Errorf("%s has no value", fields[len(fields)-1])
	}
	for i := 0; i < len(fields); i += 2 {
		name, value := fields[i], fields[i+1]
		switch name {
		case "-scenario":
			o.Scenario = value
		case "-seed":
			o.Seed, err = strconv.ParseUint(value, 10, 64)
		case "-nodes":
			o.Nodes, err = strconv.Atoi(value)
		case "-clients":
			o.Clients, err = strconv.Atoi(value)
		case "-for":
			o.For, err = time.ParseDuration(value)
		case "-without":
			o.Without = strings.Split(value, ",")
		default:
			err = fmt.Errorf("%s means nothing", name)
		}
		if err != nil {
			return o, fmt.Errorf("%s: %w", name, err)
		}
	}
	return o, nil
}
