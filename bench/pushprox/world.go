package main

import (
	"context"

	"github.com/dhtprom/dhtprom/bench/internal/load"
	"github.com/dhtprom/dhtprom/bench/internal/systems"
	"github.com/dhtprom/dhtprom/node"
)

// The ways, in the order of their results.
const (
	direct = iota
	pushProx
	dhtprom
)

// world is everything that runs.
type world struct {
	ways      []*load.Way
	exporters *systems.Exporters
	running   *systems.Running
}

// newWorld starts everything for a number of targets, and waits until all of them can be scraped in all ways.
func newWorld(ctx context.Context, programs string, targets int) (*world, error) {
	r, err := systems.New()
	if err != nil {
		return nil, err
	}
	w := &world{running: r}
	if err := w.start(ctx, programs, targets); err != nil {
		r.Close()
		return nil, err
	}
	return w, nil
}

func (w *world) start(ctx context.Context, programs string, targets int) (err error) {
	if w.exporters, err = systems.NewExporters(targets); err != nil {
		return err
	}
	w.running.OnClose(w.exporters.Close)
	dht, err := node.NewDHT(node.DHTConfig{})
	if err != nil {
		return err
	}
	w.running.OnClose(func() { dht.Close() })
	w.ways = make([]*load.Way, 3)
	w.ways[direct] = &load.Way{Name: "directly", HTTP: load.NewClient(nil), URL: systems.ExporterURL(w.exporters.Port)}
	if w.ways[pushProx], err = w.running.PushProx(programs, targets, w.exporters.Port); err != nil {
		return err
	}
	d, err := w.running.Dhtprom(ctx, dht.Bootstrap()[0])
	if err != nil {
		return err
	}
	if w.ways[dhtprom], err = d.Exporting(targets, w.exporters.Port); err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, systems.Patience)
	defer stop()
	for _, way := range w.ways {
		if err := way.Await(ctx, targets, 1000); err != nil {
			return err
		}
	}
	return nil
}
