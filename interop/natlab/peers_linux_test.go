package natlab

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/interop/jspeer"
)

// language is the implementation language of a peer.
type language string

const (
	golang     language = "Go"
	javaScript language = "JavaScript"
)

// The one alias in use, and the secret of both sides.
const alias = "somebody"

var secret = jspeer.Seed("natlab secret")

// scraper is a running scraper of either language.
type scraper interface {
	// key returns the key that clients dial, in hex.
	key() string
	// scrape requests the metrics once; without a connection it fails at once.
	scrape() error
	// path returns the path of the session, as far as it is known.
	path(client, scraper host) string
}

// scrapeTimeout bounds one scrape.
const scrapeTimeout = time.Second

// scraper starts a scraper and waits until clients can find it. extra are more flags for a Go scraper.
func (l *lab) scraper(in language, h host, extra ...string) scraper {
	l.t.Helper()
	if in == javaScript {
		p := l.javaScript(h.namespace)
		return jsScraper{jspeer.StartScraper(p, jspeer.Args{
			"dht": l.dhtJS(), "secret": secret, "requestTimeoutMs": scrapeTimeout.Milliseconds(),
		}), l.relayAddr}
	}
	return l.startScraper(goScraper{host: h, storage: l.t.TempDir(), flags: extra})
}

// startScraper starts a Go scraper with its key and its storage.
func (l *lab) startScraper(s goScraper) goScraper {
	l.t.Helper()
	seed := jspeer.Seed("natlab scraper " + string(s.host.namespace))
	args := append([]string{"run", "--storage.path=" + s.storage, "--web.listen-address=127.0.0.1:30000"}, s.flags...)
	s.process = l.program(s.host.namespace, []string{"DHTPROM_SECRET=" + secret, "DHTPROM_IDENTITY_SEED=" + seed}, "dhtprom-scraper", args...)
	s.http, s.public = s.host.client(), id.KeyPairFromSeed(seedOf(seed)).Public.Hex()
	l.t.Cleanup(s.http.CloseIdleConnections)
	var err error
	if !every(25*time.Millisecond, startTimeout, func() bool { err = s.ready(); return err == nil }) {
		l.t.Fatalf("the scraper is not ready: %v", err)
	}
	return s
}

func seedOf(hex string) id.Seed {
	seed, err := id.ParseKey32(hex)
	if err != nil {
		panic(err)
	}
	return seed
}

// dhtJS are a JavaScript node's options.
func (l *lab) dhtJS() jspeer.Args {
	return jspeer.Args{"bootstrap": l.bootstrapJS(), "host": "0.0.0.0"}
}

// every tries at intervals until f succeeds, and reports whether it did in time.
func every(interval, within time.Duration, f func() bool) bool {
	ticks := time.NewTicker(interval)
	defer ticks.Stop()
	for end := time.Now().Add(within); ; <-ticks.C {
		if f() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

type goScraper struct {
	*process
	host    host
	storage string // a folder
	flags   []string

	http   *http.Client
	public string
	within time.Duration // bounds a scrape; 0 for scrapeTimeout
}

func (s goScraper) key() string { return s.public }

// get fetches a page of the scraper.
func (s goScraper) get(page string) ([]byte, error) {
	req, err := http.NewRequest(http.MethodGet, "http://127.0.0.1:30000"+page, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", fmt.Sprint(cmp.Or(s.within, scrapeTimeout).Seconds()))
	res, err := s.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%d: %s", res.StatusCode, strings.TrimSpace(string(body)))
	}
	return body, err
}

// ready reports whether the scraper has finished entering the DHT and announcing itself.
func (s goScraper) ready() error {
	_, err := s.get("/-/ready")
	return err
}

func (s goScraper) scrape() error {
	body, err := s.get("/scrape/" + alias + "/metrics")
	if err == nil && len(body) == 0 {
		err = errors.New("empty metrics")
	}
	return err
}

func (s goScraper) path(_, _ host) string {
	var answer struct {
		Data struct{ Aliases []struct{ Path string } }
	}
	body, err := s.get("/api/v1/aliases")
	if err == nil {
		err = json.Unmarshal(body, &answer)
	}
	if err != nil || len(answer.Data.Aliases) != 1 {
		return fmt.Sprintf("? (%v)", err)
	}
	return answer.Data.Aliases[0].Path
}

type jsScraper struct {
	*jspeer.Scraper
	relay netip.Addr
}

func (s jsScraper) key() string { return s.PublicKey }

// scrape waits for a connection where the alias is known: that saves repeated requests.
func (s jsScraper) scrape() error {
	var result struct{ Scrapes []jspeer.Scrape }
	err := s.Try("scrape", jspeer.Args{"on": s.On, "alias": alias, "waitMs": 10_000}, &result)
	if err == nil && !result.Scrapes[0].Success {
		err = errors.New(result.Scrapes[0].ErrorMessage)
	}
	return err
}

// path guesses from the address of the last connection: the packages do not report it.
func (s jsScraper) path(client, scraper host) string {
	var last struct{ RemoteAddress string }
	for _, e := range s.Events() {
		if e.Name == "scrape-connection-open" {
			if err := e.Decode(&last); err != nil {
				return "?"
			}
		}
	}
	remote, err := netip.ParseAddrPort(last.RemoteAddress)
	switch {
	case err != nil:
		return "?"
	case client.mapping == open || scraper.mapping == open:
		return "direct"
	case remote.Addr() == s.relay:
		return "relayed"
	case remote.Addr() == client.addr && client.addr.IsPrivate():
		return "lan"
	}
	return "punched"
}

// registerInterval is for JavaScript clients of Go scrapers. With the default of an hour one of a thousand punches against
// a random NAT would fail the test by chance.
const registerInterval = time.Minute

// client is a running client of either language.
type client interface {
	// crash ends the client at once, without deregistering.
	crash()
}

// client starts a client in a namespace and returns at once. An identity determines its key; extra are more flags for a Go
// client.
func (l *lab) client(p pair, h host, scraperKey, identity string, extra ...string) (client, time.Time) {
	l.t.Helper()
	seed := jspeer.Seed("natlab client " + string(h.namespace) + identity)
	if p.client == javaScript {
		args := jspeer.Args{"dht": l.dhtJS(), "scraper": scraperKey, "secret": secret, "alias": alias, "seed": seed}
		if p != reference {
			args["registerIntervalMs"] = registerInterval.Milliseconds()
		}
		peer := l.javaScript(h.namespace)
		begun := time.Now()
		return jsClient{jspeer.StartClient(peer, args)}, begun
	}
	args := append([]string{"--scraper=" + scraperKey, "--alias=" + alias, "--log.level=debug"}, extra...)
	begun := time.Now()
	return goClient{l.program(h.namespace, []string{"DHTPROM_SECRET=" + secret, "DHTPROM_IDENTITY_SEED=" + seed},
		"dhtprom-client", args...)}, begun
}

type goClient struct{ *process }

func (c goClient) crash() { c.kill() }

type jsClient struct{ *jspeer.Client }

func (c jsClient) crash() { c.Kill() }
