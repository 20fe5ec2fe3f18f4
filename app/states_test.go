package app

import (
	"testing"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/states"
	"github.com/dhtprom/dhtprom/internal/states/statestest"
)

// SearchState is the state of the search of a session for a direct path.
type SearchState uint8

const (
	searchIdle SearchState = iota
	searchDirect
	searchWaiting
	searchQueued
	searchDialling
)

// SearchTable lists the states at the end of turns: a dial that need not queue follows the wait in one turn.
var SearchTable = &states.Table[SearchState]{Name: "path search", States: []states.Rule[SearchState]{
	searchIdle:     {Name: "idle", Why: "until the session has a direct path, or its machine takes another way to the network", Next: []SearchState{searchDirect, searchQueued, searchDialling}},
	searchDirect:   {Name: "direct", Why: "until a relay takes over, the machine takes another way to the network, or the session loses its connection", Next: []SearchState{searchIdle, searchWaiting, searchQueued, searchDialling}},
	searchWaiting:  {Name: "waiting", Why: "until nothing has come on the old path for 30 s, or as long as the last try says", Next: []SearchState{searchIdle, searchDirect, searchQueued, searchDialling}},
	searchQueued:   {Name: "queued", Why: "until it is its turn to dial", Next: []SearchState{searchIdle, searchDirect, searchDialling}},
	searchDialling: {Name: "dialling", Limit: connectTimeout, Next: []SearchState{searchIdle, searchDirect, searchWaiting, searchQueued}},
}}

// SearchStates calls f with the state of the search of each session.
func (s *Scraper) SearchStates(f func(domain.PublicKey, SearchState)) {
	for key, session := range s.sessions {
		f(key, session.search.state())
	}
}

func (p *pathSearch) state() SearchState {
	switch {
	case p.link != nil:
		return searchDialling
	case p.turn.ticket != nil:
		return searchQueued
	case p.timer != nil:
		return searchWaiting
	case p.direct:
		return searchDirect
	}
	return searchIdle
}

// TurnState is the state of a dialler in the queue of a scraper.
type TurnState uint8

const (
	turnNone TurnState = iota
	turnWaiting
	turnAhead
	turnDialling
)

// TurnTable lists the states at the end of turns of the loop: a dial that need not wait begins in one.
var TurnTable = &states.Table[TurnState]{Name: "dial turn", States: []states.Rule[TurnState]{
	turnNone:     {Name: "none", Why: "until the session starts or retries, or its search for a path dials", Next: []TurnState{turnWaiting, turnAhead, turnDialling}},
	turnWaiting:  {Name: "waiting", Why: "until its turn, or the session needs it no more; a client that registers is dialled at once", Next: []TurnState{turnNone, turnAhead, turnDialling}},
	turnAhead:    {Name: "ahead", Why: "a scrape waits for it: before those without one, until its turn", Next: []TurnState{turnNone, turnDialling}},
	turnDialling: {Name: "dialling", Limit: dialTurn, Next: []TurnState{turnNone, turnWaiting}},
}}

// Turn is a dialler in a queue.
type Turn struct {
	queue   *dialQueue
	dialler *dialler
}

// Turns lists the diallers of a scraper.
func (s *Scraper) Turns() (all []Turn) {
	for _, session := range s.sessions {
		all = append(all, Turn{s.dials, &session.turn}, Turn{s.dials, &session.search.turn})
	}
	return all
}

// State is the state of the dialler.
func (t Turn) State() TurnState {
	switch {
	case t.queue.turns[t.dialler] != nil:
		return turnDialling
	case t.dialler.ticket == nil:
		return turnNone
	case t.dialler.scraped:
		return turnAhead
	}
	return turnWaiting
}

// RegistrarState is the state of a client with one of its scrapers.
type RegistrarState uint8

const (
	registrarNew RegistrarState = iota
	registrarConnecting
	registrarHeld
	registrarAsking
	registrarRegistered
	registrarFailed
	registrarStopped
)

// RegistrarTable lists the states at the ends of turns.
var RegistrarTable = &states.Table[RegistrarState]{Name: "registrar", States: []states.Rule[RegistrarState]{
	registrarNew: {Name: "new", Why: "until the client starts", Next: []RegistrarState{registrarConnecting, registrarStopped}},
	registrarConnecting: {Name: "connecting", Limit: connectTimeout,
		Next: []RegistrarState{registrarHeld, registrarAsking, registrarRegistered, registrarFailed, registrarStopped}},
	registrarHeld: {Name: "held", Limit: announcePatience, EndedBy: "the announcement of the client",
		Next: []RegistrarState{registrarAsking, registrarFailed, registrarStopped}},
	registrarAsking: {Name: "asking", Limit: registerTimeout, Next: []RegistrarState{registrarRegistered, registrarFailed, registrarStopped}},
	registrarRegistered: {Name: "registered", Why: "until an hour is over, the machine moves, or the scraper's connection is gone for a while",
		Next: []RegistrarState{registrarConnecting, registrarStopped}},
	registrarFailed:  {Name: "failed", Why: "until the retry, after one second to one minute or the time that the scraper has named", Next: []RegistrarState{registrarConnecting, registrarStopped}},
	registrarStopped: {Name: "stopped"},
}}

// Registrars lists the registrars of a client.
func (c *Client) Registrars() (all []*registrar) {
	for _, k := range c.scrapers {
		all = append(all, k.registrar)
	}
	return all
}

// WatchRegistrars watches registrars that are added later.
func WatchRegistrars(w *statestest.Watch[RegistrarState]) *statestest.Machines[*registrar, RegistrarState] {
	return statestest.NewMachines(w, (*registrar).state)
}

func (rg *registrar) state() RegistrarState {
	switch a := rg.current; {
	case rg.stopped:
		return registrarStopped
	case a != nil && a.open && a.sent:
		return registrarAsking
	case a != nil && a.open:
		return registrarHeld
	case a != nil:
		return registrarConnecting
	case rg.timer == nil:
		return registrarNew
	case rg.registered:
		return registrarRegistered
	}
	return registrarFailed
}

// The states and transitions that doc.go lists are those of the tables.
func TestDocListsTheTables(t *testing.T) {
	statestest.Doc(t, "doc.go", statestest.Of(sessionTable), statestest.Of(SearchTable), statestest.Of(TurnTable), statestest.Of(RegistrarTable))
}
