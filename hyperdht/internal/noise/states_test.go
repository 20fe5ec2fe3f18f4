package noise

import (
	"testing"

	"github.com/dhtprom/dhtprom/internal/states/statestest"
)

// The states and transitions that doc.go lists are those of the tables.
func TestDocListsTheTables(t *testing.T) {
	statestest.Doc(t, "doc.go", statestest.Of(initiatorTable), statestest.Of(responderTable))
}
