package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/bench/internal/systems"
	"github.com/dhtprom/dhtprom/client"
)

// role runs in a process of its own: begin returns what it prints when it is ready, and what answers a line on its standard input.
type role struct {
	args  int
	begin func(args []string) (ready any, answer func(args []string) (any, error), err error)
}

// roles are those of this program, by name. peer.js has those of JavaScript.
var roles = map[string]role{
	"client":    {3, clientRole},
	"exporters": {1, exportersRole},
	"udp":       {0, udpRole},
	"caller":    {1, callerRole},
	"crowd":     {2, crowdRole},
	"listen":    {1, listenRole},
	"dial":      {2, dialRole},
}

// runRole runs a role until its standard input ends.
func runRole(name string, args []string) error {
	r, ok := roles[name]
	if !ok || len(args) != r.args {
		return fmt.Errorf("no role %s with %d arguments", name, len(args))
	}
	answer, respond, err := r.begin(args)
	for lines := bufio.NewScanner(os.Stdin); err == nil; {
		if err = json.NewEncoder(os.Stdout).Encode(answer); err != nil || !lines.Scan() {
			break
		}
		answer, err = respond(strings.Fields(lines.Text()))
	}
	return err
}

// done is the answer of roles that have no figures.
type done struct{}

// clientRole serves a page under an alias. Its arguments are an invite, the alias and the file of the page, which any line makes it read
// again.
func clientRole(args []string) (any, func([]string) (any, error), error) {
	var page atomic.Pointer[string]
	read := func([]string) (any, error) {
		text, err := os.ReadFile(args[2])
		body := string(text)
		page.Store(&body)
		return done{}, err
	}
	if _, err := read(nil); err != nil {
		return nil, nil, err
	}
	cfg := client.Config{Invite: args[0], Alias: args[1], Func: func(context.Context) (string, error) { return *page.Load(), nil }}
	network, err := cfg.Network()
	if err != nil {
		return nil, nil, err
	}
	n, err := dhtprom.NewNode(network)
	if err != nil {
		return nil, nil, err
	}
	_, err = client.Start(context.Background(), n, cfg)
	return done{}, read, err
}

// exportersRole runs a number of exporters. Its lines are sizes of their page, and codings.
func exportersRole(args []string) (any, func([]string) (any, error), error) {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return nil, nil, err
	}
	e, err := systems.NewExporters(n)
	if err != nil {
		return nil, nil, err
	}
	return map[string]int{"port": e.Port}, func(line []string) (any, error) {
		size, err := strconv.Atoi(line[0])
		if err == nil {
			e.Serve(size, line[1])
		}
		return done{}, err
	}, nil
}

// udpRole answers the requests of callers.
func udpRole([]string) (any, func([]string) (any, error), error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, nil, err
	}
	if err := conn.SetReadBuffer(socketBuffer); err != nil {
		return nil, nil, err
	}
	go func() {
		fmt.Fprintln(os.Stderr, answerDatagrams(conn))
		os.Exit(1)
	}()
	ready := map[string]string{"address": conn.LocalAddr().String()}
	return ready, func([]string) (any, error) { return done{}, nil }, nil
}

// crowdPerNode is the number of clients that share a node. Each pings the DHT nodes that have its record every three seconds, and a node has
// one congestion window for its requests: 10,000 clients on one could not register.
const crowdPerNode = 300

// crowdRole has many clients on a few nodes. Its arguments are an invite and the file of a page; its lines are the number of the first client
// to start, how many, and how many at a time. It answers with the time until all are registered.
func crowdRole(args []string) (any, func([]string) (any, error), error) {
	text, err := os.ReadFile(args[1])
	if err != nil {
		return nil, nil, err
	}
	page := string(text)
	cfg := client.Config{Invite: args[0], Func: func(context.Context) (string, error) { return page, nil }}
	network, err := cfg.Network()
	if err != nil {
		return nil, nil, err
	}
	var nodes []*dhtprom.Node
	return done{}, func(line []string) (any, error) {
		var from, count, parallel int
		if _, err := fmt.Sscan(strings.Join(line, " "), &from, &count, &parallel); err != nil {
			return nil, err
		}
		for len(nodes)*crowdPerNode < from+count {
			n, err := dhtprom.NewNode(network)
			if err != nil {
				return nil, err
			}
			nodes = append(nodes, n)
		}
		began := time.Now()
		group, ctx := errgroup.WithContext(context.Background())
		group.SetLimit(parallel)
		for i := from; i < from+count; i++ {
			group.Go(func() error {
				cfg := cfg
				cfg.Alias = "crowd-" + systems.Alias(i)
				c, err := client.Start(context.Background(), nodes[i/crowdPerNode], cfg)
				if err != nil {
					return err
				}
				return c.Registered(ctx)
			})
		}
		err := group.Wait()
		return timed{time.Since(began).Seconds()}, err
	}, nil
}
