// Package systems starts exporters, and the programs through which benchmarks scrape them, on this machine, which must be Linux.
package systems

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/dhtprom/dhtprom/bench/internal/load"
)

// Patience is the time for programs to start.
const Patience = time.Minute

// Running runs programs in a folder of its own until Close.
type Running struct {
	Dir     string
	closers []func()
}

// New returns a temporary folder for programs, which Close removes.
func New() (*Running, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	r := &Running{Dir: dir}
	r.OnClose(func() { os.RemoveAll(dir) })
	return r, nil
}

// OnClose adds a function that Close calls, the last one first.
func (r *Running) OnClose(f func()) { r.closers = append(r.closers, f) }

// Close stops everything.
func (r *Running) Close() {
	for len(r.closers) > 0 {
		last := len(r.closers) - 1
		r.closers[last]()
		r.closers = r.closers[:last]
	}
}

// Run starts a program until Close.
func (r *Running) Run(name, program string, args ...string) (*load.Child, error) {
	return r.keep(load.StartChild(r.Dir, name, program, args...))
}

// Role starts a role until Close, as load.StartRole does.
func (r *Running) Role(name, program string, args ...string) (*load.Child, error) {
	return r.keep(load.StartRole(r.Dir, name, program, args...))
}

func (r *Running) keep(c *load.Child, err error) (*load.Child, error) {
	if err != nil {
		return nil, err
	}
	r.OnClose(c.Stop)
	return c, nil
}

// Alias returns the alias of a target.
func Alias(target int) string { return fmt.Sprintf("target-%d", target) }

func awaitAnswer(ctx context.Context, address string) error {
	ctx, stop := context.WithTimeout(ctx, Patience)
	defer stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("%s answered %s", address, res.Status)
		}
		if ctx.Err() != nil {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// freeAddress returns a loopback address whose port is free.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
