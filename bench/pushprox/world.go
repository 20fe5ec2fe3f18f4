package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/dhtprom/dhtprom/bench/page"
	"github.com/dhtprom/dhtprom/node"
)

// The ways, in the order of their results.
const (
	direct = iota
	pushProx
	dhtprom
)

// patience is the time for programs to start, until all targets can be scraped.
const patience = time.Minute

// world is everything that runs.
type world struct {
	ways              []*way
	pushProx, dhtprom []*child

	page    atomic.Pointer[answer]
	port    int // of all exporters
	dir     string
	closers []func()
}

// answer is the page that exporters serve.
type answer struct{ plain, gzipped []byte }

// newWorld starts everything for a number of targets, and waits until all of them can be scraped in all ways.
func newWorld(ctx context.Context, programs string, targets int) (*world, error) {
	w := &world{}
	err := w.start(ctx, programs, targets)
	if err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *world) start(ctx context.Context, programs string, targets int) (err error) {
	if w.dir, err = os.MkdirTemp("", "pushprox"); err != nil {
		return err
	}
	w.onClose(func() { os.RemoveAll(w.dir) })
	w.serve(1000, "")
	for i := range targets {
		if err := w.startExporter(i); err != nil {
			return err
		}
	}
	through, err := w.startPushProx(programs, targets)
	if err != nil {
		return fmt.Errorf("PushProx: %w", err)
	}
	scraper, err := w.startDhtprom(ctx, targets)
	if err != nil {
		return fmt.Errorf("dhtprom: %w", err)
	}
	exporter := func(target int) string { return fmt.Sprintf("http://%s:%d/metrics", addressOf(target), w.port) }
	onScraper := func(target int) string { return fmt.Sprintf("http://%s/scrape/%s/metrics", scraper, aliasOf(target)) }
	w.ways = []*way{
		direct:   {"directly", newClient(nil), exporter, nil},
		pushProx: {"PushProx", newClient(through), exporter, w.pushProx},
		dhtprom:  {"dhtprom", newClient(nil), onScraper, w.dhtprom},
	}
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	for _, way := range w.ways {
		for i := range targets {
			for {
				_, err := way.scrape(ctx, i, 1000)
				if err == nil {
					break
				}
				if ctx.Err() != nil {
					return fmt.Errorf("%s: %w", way.name, err)
				}
				time.Sleep(100 * time.Millisecond)
			}
		}
	}
	return nil
}

func (w *world) onClose(f func()) { w.closers = append(w.closers, f) }

func (w *world) close() {
	for len(w.closers) > 0 {
		last := len(w.closers) - 1
		w.closers[last]()
		w.closers = w.closers[:last]
	}
}

// newClient returns an HTTP client like Prometheus's.
func newClient(proxy *url.URL) *http.Client {
	t := &http.Transport{MaxIdleConns: 20000, MaxIdleConnsPerHost: 1000, DisableCompression: true, IdleConnTimeout: 5 * time.Minute}
	if proxy != nil {
		t.Proxy = http.ProxyURL(proxy)
	}
	return &http.Client{Transport: t}
}

// addressOf returns the loopback address of a target, which is also its name in PushProx.
func addressOf(target int) string { return fmt.Sprintf("127.0.1.%d", target+1) }

func aliasOf(target int) string { return fmt.Sprintf("target-%d", target) }

// startExporter starts the exporter of a target, at the port of the first one.
func (w *world) startExporter(target int) error {
	l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", addressOf(target), w.port))
	if err != nil {
		return err
	}
	w.port = l.Addr().(*net.TCPAddr).Port
	server := &http.Server{Handler: http.HandlerFunc(w.answer), ReadHeaderTimeout: timeout}
	go server.Serve(l)
	w.onClose(func() { server.Close() })
	return nil
}

// serve sets the page of all exporters, in a coding: gzip, or none if empty.
func (w *world) serve(size int, coding string) {
	a := &answer{plain: []byte(page.New(size))}
	if coding == "gzip" {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write(a.plain)
		z.Close()
		a.gzipped = b.Bytes()
	}
	w.page.Store(a)
}

// answer answers a scrape: with a length if the page is plain, and without one if it is compressed, as client_golang does.
func (w *world) answer(out http.ResponseWriter, r *http.Request) {
	a, h := w.page.Load(), out.Header()
	h.Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	if a.gzipped != nil && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		out.(http.Flusher).Flush()
		out.Write(a.gzipped)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(a.plain)))
	out.Write(a.plain)
}

// run starts a program until close, and adds it to those of a way.
func (w *world) run(way *[]*child, name, program string, args ...string) error {
	c, err := startChild(w.dir, name, program, args...)
	if err == nil {
		*way = append(*way, c)
		w.onClose(c.stop)
	}
	return err
}

// startPushProx starts a proxy and a client for each target, and returns the URL of the proxy.
func (w *world) startPushProx(programs string, targets int) (*url.URL, error) {
	find := func(name string) (string, error) {
		if programs == "" {
			return exec.LookPath(name)
		}
		return filepath.Abs(filepath.Join(programs, name))
	}
	proxy, err := find("pushprox-proxy")
	if err != nil {
		return nil, err
	}
	client, err := find("pushprox-client")
	if err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	if err := w.run(&w.pushProx, "proxy", proxy, "--web.listen-address="+address, "--log.level=error"); err != nil {
		return nil, err
	}
	for i := range targets {
		err := w.run(&w.pushProx, "pushprox-"+aliasOf(i), client, "--proxy-url=http://"+address+"/", "--fqdn="+addressOf(i), "--metrics-addr=", "--log.level=error",
			"--proxy.retry.initial-wait=100ms")
		if err != nil {
			return nil, err
		}
	}
	return url.Parse("http://" + address)
}

// startDhtprom starts a private DHT, a scraper and a client for each target, and returns the address of the scraper.
func (w *world) startDhtprom(ctx context.Context, targets int) (string, error) {
	build := exec.CommandContext(ctx, "go", "build", "-o", w.dir+string(filepath.Separator),
		"github.com/dhtprom/dhtprom/cmd/dhtprom-scraper", "github.com/dhtprom/dhtprom/cmd/dhtprom-client")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	dht, err := node.NewDHT(node.DHTConfig{})
	if err != nil {
		return "", err
	}
	w.onClose(func() { dht.Close() })
	address, err := freeAddress()
	if err != nil {
		return "", err
	}
	scraper, bootstrap := filepath.Join(w.dir, "dhtprom-scraper"), "--dht.bootstrap="+dht.Bootstrap()[0]
	err = w.run(&w.dhtprom, "scraper", scraper, "--web.listen-address="+address, bootstrap, "--log.level=warn")
	if err != nil {
		return "", err
	}
	if err := awaitAnswer(ctx, "http://"+address+"/-/healthy"); err != nil {
		return "", err
	}
	invite := exec.CommandContext(ctx, scraper, "invite", bootstrap)
	invite.Dir = w.dir
	text, err := invite.Output()
	if err != nil {
		return "", fmt.Errorf("dhtprom-scraper invite: %w", err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "invite"), text, 0o600); err != nil {
		return "", err
	}
	for i := range targets {
		err := w.run(&w.dhtprom, aliasOf(i), filepath.Join(w.dir, "dhtprom-client"), "--invite-file=invite", "--alias="+aliasOf(i), "--log.level=warn",
			fmt.Sprintf("--target=http://%s:%d/metrics", addressOf(i), w.port))
		if err != nil {
			return "", err
		}
	}
	return address, nil
}

func awaitAnswer(ctx context.Context, address string) error {
	ctx, stop := context.WithTimeout(ctx, patience)
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
