package app_test

import (
	"fmt"
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

// A service that brings its own metrics. The host, the network and the source are in memory here; a program takes
// adapters/udp, adapters/dht and adapters/source.
func ExampleClient() {
	loop := portstest.NewLoop(1)
	scraper, err := domain.ParsePublicKey("tkrq8zmwb8a3m9k15csu3q17qmfgqnp9dskbrg9uq1rydpyxp7qy")
	if err != nil {
		fmt.Println(err)
		return
	}
	secret, err := domain.ParseSecret("101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f")
	if err != nil {
		fmt.Println(err)
		return
	}
	client, err := app.NewClient(app.ClientConfig{
		Host: loop, Transport: portstest.NewTransport(portstest.NewNetwork(loop)),
		Source: portstest.NewSource(loop, "up 1\n"), Scraper: scraper, Secret: secret,
		Alias: "laptop", Service: "backup", Hostname: "mercury",
		OnEvent: func(e domain.Event) { fmt.Println(e.Name()) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	loop.Turn(func() {
		client.Start(func(err error) { fmt.Println("listening:", err == nil) })
	})
	loop.Advance(time.Second)
	// Output:
	// alias-attempt
	// listening: true
	// register-alias-error
}
