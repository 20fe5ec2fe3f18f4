// Package source implements the sources of a client's metrics: a prometheus.Gatherer, a function that returns text, and an
// exporter over HTTP.
//
// Each collection runs on its own goroutine, because collectors, functions and exporters may be slow and the loop must not
// wait for them. The number of collections that ignore their deadline is bounded.
package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// maxRunning bounds the concurrent collections. A client requests fewer; more accumulate only when a source ignores its
// deadline.
const maxRunning = 16

var errHanging = errors.New("earlier collections of metrics are still running")

// Source runs a function for each collection.
type Source struct {
	loop    host.Loop
	collect func(context.Context) ([]byte, error)
	running atomic.Int32
}

// Func returns a source that calls f, which should return when its context is done.
func Func(loop host.Loop, f func(context.Context) (string, error)) *Source {
	return &Source{loop: loop, collect: func(ctx context.Context) ([]byte, error) {
		text, err := f(ctx)
		return []byte(text), err
	}}
}

// Gatherer returns a source that gathers metrics of this process and encodes them in the text format 0.0.4, which both
// Prometheus and the JavaScript read. Any error fails the collection: a partial page would look like a healthy target that
// lost its series.
func Gatherer(loop host.Loop, g prometheus.Gatherer) *Source {
	return &Source{loop: loop, collect: func(context.Context) ([]byte, error) {
		families, err := g.Gather()
		if err != nil {
			return nil, err
		}
		var out bytes.Buffer
		enc := expfmt.NewEncoder(&out, expfmt.NewFormat(expfmt.TypeTextPlain))
		for _, f := range families {
			if err := enc.Encode(f); err != nil {
				return nil, fmt.Errorf("metric %s: %w", f.GetName(), err)
			}
		}
		return out.Bytes(), nil
	}}
}

// Collect runs one collection. A panic in it becomes its error: a broken collector must not crash the service it monitors.
func (s *Source) Collect(within time.Duration, done func([]byte, error)) (cancel func()) {
	ctx, stop := context.WithTimeout(context.Background(), within)
	over := false // on the loop
	finish := func(body []byte, err error) {
		s.loop.Post(func() {
			stop()
			if !over {
				over = true
				done(body, err)
			}
		})
	}
	if s.running.Add(1) > maxRunning {
		s.running.Add(-1)
		finish(nil, errHanging)
	} else {
		go func() {
			body, err := s.run(ctx)
			s.running.Add(-1)
			finish(body, err)
		}()
	}
	return func() {
		over = true
		stop()
	}
}

func (s *Source) run(ctx context.Context) (body []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			body, err = nil, fmt.Errorf("metrics source panicked: %v", r)
		}
	}()
	return s.collect(ctx)
}

var _ ports.MetricsSource = (*Source)(nil)
