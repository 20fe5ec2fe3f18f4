package dhtprom_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// exampleScraper runs a private DHT with a scraper on it and gives an invite. In real life they run on other machines,
// and the invite comes from dhtprom-scraper invite.
func exampleScraper(ctx context.Context) (scraper *dhtprom.Scraper, invite string, registered <-chan domain.Alias, stop func()) {
	dht, err := dhtprom.NewPrivateDHT(4)
	if err != nil {
		panic(err)
	}
	cfg, err := dht.NodeConfig()
	if err != nil {
		panic(err)
	}
	node, err := dhtprom.NewNode(cfg)
	if err != nil {
		panic(err)
	}
	aliases := make(chan domain.Alias, 16)
	scraper, err = node.StartScraper(ctx, dhtprom.ScraperConfig{
		Seed: domain.SeedFrom([32]byte{1}), Secrets: []domain.Secret{domain.SecretFrom([32]byte{2, 3})},
		OnEvent: func(e domain.Event) {
			if e, ok := e.(domain.AliasSuccess); ok {
				aliases <- e.Register.Alias
			}
		},
	})
	if err != nil {
		panic(err)
	}
	if invite, err = scraper.Invite(dht.Bootstrap...); err != nil {
		panic(err)
	}
	return scraper, invite, aliases, func() {
		_ = node.Close()
		_ = dht.Close()
	}
}

// line is the line of a page that starts with prefix.
func line(page []byte, prefix string) string {
	for l := range strings.Lines(string(page)) {
		if strings.HasPrefix(l, prefix) {
			return strings.TrimSpace(l)
		}
	}
	return "no " + prefix
}

// A service exposes its registry. All that it needs is an invite.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	scraper, invite, registered, stop := exampleScraper(ctx)
	defer stop()

	registry := prometheus.NewRegistry()
	orders := prometheus.NewCounter(prometheus.CounterOpts{Name: "shop_orders_total", Help: "Orders so far."})
	registry.MustRegister(orders)
	orders.Add(3)

	// These are the few lines.
	running, end := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- dhtprom.Expose(running, dhtprom.ClientConfig{Invite: invite, Alias: "shop-7", Service: "shop", Gatherer: registry})
	}()

	// Meanwhile at the scraper.
	page, err := scraper.Scrape(ctx, string(<-registered))
	fmt.Println(line(page, "shop_orders_total"), err)

	end() // it says goodbye
	fmt.Println(<-ended)
	aliases, err := scraper.Aliases()
	fmt.Println(len(aliases), err)
	// Output:
	// shop_orders_total 3 <nil>
	// <nil>
	// 0 <nil>
}

// One node for everything: a service that scrapes others, is scraped itself, and serves HTTP over a stream of its own.
func ExampleNode() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dht, err := dhtprom.NewPrivateDHT(4)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer dht.Close()

	node, err := dhtprom.NewNode(dhtprom.NodeConfig{Bootstrap: dht.Bootstrap})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer node.Close() // ends what follows, too

	scraper, err := node.StartScraper(ctx, dhtprom.ScraperConfig{
		Seed: domain.SeedFrom([32]byte{1}), Secrets: []domain.Secret{domain.SecretFrom([32]byte{2, 3})},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	invite, err := scraper.Invite(dht.Bootstrap...)
	if err != nil {
		fmt.Println(err)
		return
	}
	client, err := node.StartClient(ctx, dhtprom.ClientConfig{
		Invite: invite, Alias: "itself",
		Func: func(context.Context) (string, error) { return "answers 42\n", nil },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := client.Registered(ctx); err != nil {
		fmt.Println(err)
		return
	}
	page, err := scraper.Scrape(ctx, "itself")
	fmt.Printf("%s%v\n", page, err)

	// The scraper's HTTP side, served over HyperDHT instead of TCP: whoever knows the key may look.
	handler, err := scraper.Handler()
	if err != nil {
		fmt.Println(err)
		return
	}
	listener, err := node.Streams().Listen(ctx, hyperdht.ListenOptions{Keys: id.KeyPairFromSeed(id.Seed{9})})
	if err != nil {
		fmt.Println(err)
		return
	}
	server := &http.Server{Handler: handler}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()

	other, err := dhtprom.NewNode(dhtprom.NodeConfig{Bootstrap: dht.Bootstrap})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer other.Close()
	conn, err := other.Streams().Dial(ctx, id.KeyPairFromSeed(id.Seed{9}).Public, hyperdht.ConnectOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET /scrape/itself/metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
	answer, err := io.ReadAll(conn)
	fmt.Println(line(answer, "answers"), err)
	// Output:
	// answers 42
	// <nil>
	// answers 42 <nil>
}

// A service chooses where its events go: to a logger, and to code of its own.
func ExampleClientConfig() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, invite, _, stop := exampleScraper(ctx)
	defer stop()

	v, err := domain.ParseInvite(invite)
	if err != nil {
		fmt.Println(err)
		return
	}
	node, err := dhtprom.NewNode(dhtprom.NodeConfig{Bootstrap: v.Bootstrap})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer node.Close()

	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		switch a.Key {
		case slog.LevelKey, slog.MessageKey, "alias", "updated":
			return a
		}
		return slog.Attr{} // keys and times differ
	}}))
	registered := make(chan bool, 1)
	client, err := node.StartClient(ctx, dhtprom.ClientConfig{
		Invite: invite, Alias: "shop-7", Gatherer: prometheus.NewRegistry(),
		Logger: slog.New(only{"register-alias-success", log.Handler()}),
		OnEvent: func(e domain.Event) { // on the node's loop: pass it on and return
			if e, ok := e.(domain.RegisterAliasSuccess); ok {
				registered <- e.Updated
			}
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("new:", <-registered)
	fmt.Println(client.Close())
	// Output:
	// level=INFO msg=register-alias-success alias=shop-7 updated=true
	// new: true
	// <nil>
}

// only is a log of one kind of event.
type only struct {
	event string
	slog.Handler
}

func (o only) Handle(ctx context.Context, r slog.Record) error {
	if r.Message != o.event {
		return nil
	}
	return o.Handler.Handle(ctx, r)
}

// A scraper in a service, with its HTTP side on the service's own server.
func ExampleScraper_Handler() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	scraper, invite, registered, stop := exampleScraper(ctx)
	defer stop()

	handler, err := scraper.Handler()
	if err != nil {
		fmt.Println(err)
		return
	}
	server := httptest.NewServer(handler)
	defer server.Close()

	go func() {
		_ = dhtprom.Expose(ctx, dhtprom.ClientConfig{
			Invite: invite, Alias: "shop-7", Service: "shop", Hostname: "cellar",
			Func: func(context.Context) (string, error) { return "shop_orders_total 3\n", nil },
		})
	}()
	<-registered
	res, err := http.Get(server.URL + "/scrape/shop-7/metrics")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	fmt.Printf("%s%v\n", page, err)
	// Output:
	// shop_orders_total 3
	// <nil>
}
