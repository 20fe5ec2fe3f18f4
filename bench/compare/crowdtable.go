package main

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/dhtprom/dhtprom/bench/internal/load"
)

const (
	scraperRow = "memory of the scraper without aliases, MB"
	clientRow  = "memory of a client, MB"
	privateRow = ", of it private"
	firstRow   = "first scrape, ms"
)

func idleRow(aliases int) string {
	return fmt.Sprintf("idle CPU of the scraper, %%: %d aliases", aliases)
}

func memoryRow(aliases int) string {
	return fmt.Sprintf("memory of the scraper for each alias, kB: %d aliases", aliases)
}

func registerRow(parallel int) string { return fmt.Sprintf("registrations/s, %d at a time", parallel) }

func registerCPURow(parallel int) string {
	return fmt.Sprintf("CPU of the scraper for a registration, ms, %d at a time", parallel)
}

// crowdRows are the rows, in their order.
func crowdRows(sizes []int) []string {
	rows := []string{scraperRow, scraperRow + privateRow, clientRow, clientRow + privateRow, firstRow}
	for _, n := range registering {
		rows = append(rows, registerRow(n))
	}
	for _, n := range registering {
		rows = append(rows, registerCPURow(n))
	}
	for _, n := range sizes {
		rows = append(rows, memoryRow(n), memoryRow(n)+", after a scrape of each")
	}
	rows = append(rows, idleRow(0))
	for _, n := range sizes {
		rows = append(rows, idleRow(n))
	}
	return rows
}

// measureCrowd measures one round of a system.
func measureCrowd(ctx context.Context, o options, start startCrowd, f crowdFigures, sizes []int) error {
	c, bootstrap, err := newCrowd()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := start(ctx, o, c, bootstrap); err != nil {
		return err
	}
	if err := c.clients.Read(&done{}); err != nil {
		return err
	}
	return c.measure(ctx, o, f, sizes)
}

// startCrowd starts a scraper, and a crowd without clients.
type startCrowd func(ctx context.Context, o options, c *crowd, bootstrap string) error

func compareCrowds(ctx context.Context, o options) error {
	names, starts := []string{"dhtprom", "JavaScript"}, []startCrowd{startDhtprom, startJavaScript}
	sizes := [][]int{o.crowd, o.crowd[:1]} // more of JavaScript's take minutes
	all := []crowdFigures{{}, {}}
	for round := range o.rounds {
		for i := range starts {
			turn := (i + round) % len(starts)
			if turn == 1 && !o.installed {
				continue
			}
			fmt.Fprintf(os.Stderr, "aliases, round %d of %d: %s\n", round+1, o.rounds, names[turn])
			if err := measureCrowd(ctx, o, starts[turn], all[turn], sizes[turn]); err != nil {
				return fmt.Errorf("%s: %w", names[turn], err)
			}
		}
	}
	fmt.Println(load.Head(slices.Concat([]string{""}, names)...))
	for _, row := range crowdRows(o.crowd) {
		cells := []string{row, cell(all[0][row]), cell(all[1][row])}
		if !o.installed {
			cells[2] = notMeasured
		}
		fmt.Println(load.Row(cells...))
	}
	fmt.Println()
	return nil
}
