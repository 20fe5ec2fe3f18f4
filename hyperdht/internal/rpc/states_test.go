package rpc

import (
	"testing"

	"github.com/dhtprom/dhtprom/internal/states/statestest"
)

// The states and transitions that doc.go lists are those of the tables.
func TestDocListsTheTables(t *testing.T) {
	statestest.Doc(t, "doc.go", statestest.Of(lifeTable), statestest.Of(roleTable), statestest.Of(accessTable), statestest.Of(callStates),
		statestest.Of(queryTable), statestest.Of(candidateTable), statestest.Of(reachTable), statestest.Of(rejoinTable))
}
