package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	pages "github.com/dhtprom/dhtprom/ports/scrape"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/source"
	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
)

// The roles of this program's child processes, with the arguments of pair.js.
const (
	roleClient  = "client"
	roleScraper = "scraper"
)

const warmup = 300

func runRole(role string, args []string) error {
	h := udp.New(udp.Options{})
	defer h.Close()
	transport, err := onLoop(h, func() (*dht.Transport, error) {
		node, err := hyperdht.New(h, hyperdht.Config{Bootstrap: args[:1]})
		if err != nil {
			return nil, err
		}
		return dht.New(h, node, dht.Config{}), nil
	})
	if err != nil {
		return err
	}
	if role == roleClient {
		return serve(h, transport, args[1:])
	}
	return scrape(h, transport, args[1:])
}

func serve(h *udp.Host, transport *dht.Transport, args []string) error {
	scraper, err := domain.ParsePublicKey(args[0])
	if err != nil {
		return err
	}
	size, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	body := "# TYPE filler counter\n" + strings.Repeat("filler_total 1\n", size/15+1)
	body = body[:size]
	text := source.Func(h, func(context.Context) (string, error) { return body, nil })
	var secret [32]byte
	secret[0] = 1
	parsed, err := domain.SecretFromBytes(secret[:])
	if err != nil {
		return err
	}
	started := make(chan error, 1)
	client, err := onLoop(h, func() (*app.Client, error) {
		c, err := app.NewClient(app.ClientConfig{
			Host: h, Transport: transport, Source: text, Scraper: scraper, Secret: parsed, Alias: "bench", Service: "bench",
		})
		if err == nil {
			c.Start(func(err error) { started <- err })
		}
		return c, err
	})
	if err != nil {
		return err
	}
	if err := <-started; err != nil {
		return err
	}
	if err := print(map[string]string{"key": client.PublicKey().Hex()}); err != nil {
		return err
	}
	select {} // until the parent kills this process
}

func scrape(h *udp.Host, transport *dht.Transport, args []string) error {
	seed, err := domain.ParseSeed(args[0])
	if err != nil {
		return err
	}
	client, err := domain.ParsePublicKey(args[1])
	if err != nil {
		return err
	}
	count, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	parallel, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	begin := time.Now()
	opened := make(chan struct{}, 1)
	session, err := onLoop(h, func() (*app.Session, error) {
		s, err := app.NewSession(app.SessionConfig{
			Host: h, Transport: transport, Keys: domain.KeyPairFromSeed(seed), Client: client,
			OnEvent: func(e domain.Event) {
				if _, ok := e.(domain.ConnectionOpen); ok {
					select {
					case opened <- struct{}{}:
					default:
					}
				}
			},
		})
		if err == nil {
			s.Start()
		}
		return s, err
	})
	if err != nil {
		return err
	}
	<-opened
	if err := once(h, session); err != nil {
		return err
	}
	m := measurement{First: float64(time.Since(begin).Microseconds()) / 1000}
	for range warmup {
		if err := once(h, session); err != nil {
			return err
		}
	}

	times := make([]time.Duration, 0, count)
	begin = time.Now()
	for range count {
		t := time.Now()
		if err := once(h, session); err != nil {
			return err
		}
		times = append(times, time.Since(t))
	}
	m.Serial = float64(count) / time.Since(begin).Seconds()
	slices.Sort(times)
	m.P50 = float64(times[count/2].Nanoseconds()) / 1000
	m.P99 = float64(times[count*99/100].Nanoseconds()) / 1000

	m.Parallel, err = together(h, session, count, parallel)
	if err != nil {
		return err
	}
	if m.RSS, err = resident(); err != nil {
		return err
	}
	return print(m)
}

// together runs count scrapes, several at a time, and returns how many it did per second.
func together(h *udp.Host, session *app.Session, count, parallel int) (float64, error) {
	work := make(chan struct{}, count)
	for range count {
		work <- struct{}{}
	}
	close(work)
	errs := make([]error, parallel)
	var group sync.WaitGroup
	begin := time.Now()
	for i := range parallel {
		group.Go(func() {
			for range work {
				if errs[i] = once(h, session); errs[i] != nil {
					return
				}
			}
		})
	}
	group.Wait()
	return float64(count) / time.Since(begin).Seconds(), errors.Join(errs...)
}

// once scrapes and waits for the answer.
func once(h *udp.Host, session *app.Session) error {
	done := make(chan error, 1)
	h.Post(func() {
		pages.Collect(session, domain.ScrapeRequest{}, domain.MaxBody, func(_ pages.Page, err error) { done <- err })
	})
	return <-done
}

func onLoop[T any](h *udp.Host, f func() (T, error)) (result T, err error) {
	if !h.Do(func() { result, err = f() }) {
		err = udp.ErrClosed
	}
	return result, err
}

// resident returns this process's resident memory in MB, from Linux's /proc.
func resident() (float64, error) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	var size, pages float64
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		return 0, err
	}
	return pages * float64(os.Getpagesize()) / (1 << 20), nil
}

func print(v any) error { return json.NewEncoder(os.Stdout).Encode(v) }
