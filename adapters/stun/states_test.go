package stun

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v2"

	"github.com/dhtprom/dhtprom/internal/states"
	"github.com/dhtprom/dhtprom/internal/states/statestest"
)

type transactionState uint8

const (
	transactionAsked transactionState = iota
	transactionAskedTwice
	transactionAskedThreeTimes
	transactionEnded
)

var transactionTable = &states.Table[transactionState]{Name: "transaction", States: []states.Rule[transactionState]{
	transactionAsked:           {Name: "asked", Limit: firstTimeout, Next: []transactionState{transactionAskedTwice, transactionEnded}},
	transactionAskedTwice:      {Name: "asked twice", Limit: 2 * firstTimeout, Next: []transactionState{transactionAskedThreeTimes, transactionEnded}},
	transactionAskedThreeTimes: {Name: "asked three times", Limit: lastTimeout, Next: []transactionState{transactionEnded}},
	transactionEnded:           {Name: "ended"},
}}

func (t *transaction) state() transactionState {
	switch {
	case t.p.c.transactions[key{t.p.socket, t.id}] != t:
		return transactionEnded
	case t.sent == 3:
		return transactionAskedThreeTimes
	case t.sent == 2:
		return transactionAskedTwice
	}
	return transactionAsked
}

type probeState uint8

const (
	probeRunning probeState = iota
	probeOver
)

var probeTable = &states.Table[probeState]{Name: "probe", States: []states.Rule[probeState]{
	probeRunning: {Name: "running", Limit: probeTimeout, Next: []probeState{probeOver}},
	probeOver:    {Name: "over"},
}}

func (p *probe) state() probeState {
	if p.over {
		return probeOver
	}
	return probeRunning
}

func TestDocListsTheTables(t *testing.T) {
	statestest.Doc(t, "doc.go", statestest.Of(probeTable), statestest.Of(transactionTable))
}

// Servers that answer one of the three requests, refuse it, or are silent, and probes that are cancelled.
func TestTransactionsKeepToTheTable(t *testing.T) {
	transactions := statestest.NewMachines(statestest.NewWatch(t, transactionTable), (*transaction).state)
	probes := statestest.NewMachines(statestest.NewWatch(t, probeTable), (*probe).state)
	var servers []string
	for i := 1; i <= 6; i++ {
		servers = append(servers, fmt.Sprintf("198.51.100.%d", i))
	}
	l := newLab(t, servers...)
	for i := range servers {
		l.peerAt(i+1, 3478, func(p *peer, n int, from netip.AddrPort, id transactionID) {
			switch request := (n-1)%transmissions + 1; {
			case i < transmissions && request == i+1:
				honest(p, n, from, id)
			case i == 4:
				p.respond(from, stun.BindingError, id, stun.CodeServerError)
			case i == 5:
				p.respond(from, stun.BindingSuccess, id, xored(from), other(netip.MustParseAddrPort("198.51.100.9:3478")))
			}
		})
	}
	run := func(d time.Duration) {
		for ; d > 0; d -= delay / 2 {
			for _, tr := range l.transactions {
				transactions.Add(tr)
				probes.Add(tr.p)
			}
			transactions.Look()
			probes.Look()
			l.net.Run(delay / 2)
		}
	}
	for _, after := range []time.Duration{100 * time.Millisecond, time.Second, 2 * time.Second} {
		cancel := l.ask()
		run(after)
		l.host.Do(cancel)
		run(100 * time.Millisecond)
	}
	l.ask()
	run(probeTimeout)
}
