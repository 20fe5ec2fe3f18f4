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
	searchIdle:     {Name: "idle", Why: "until the session opens on a direct path, or a relayed one becomes direct", Next: []SearchState{searchDirect}},
	searchDirect:   {Name: "direct", Why: "until a relay takes over, or the session loses its connection", Next: []SearchState{searchIdle, searchWaiting}},
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

// The states and transitions that doc.go lists are those of the tables.
func TestDocListsTheTables(t *testing.T) {
	statestest.Doc(t, "doc.go", statestest.Of(sessionTable), statestest.Of(SearchTable))
}
