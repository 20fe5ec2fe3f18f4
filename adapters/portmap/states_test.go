package portmap

import (
	"testing"

	"github.com/dhtprom/dhtprom/internal/states/statestest"
)

func TestDocListsTheTables(t *testing.T) {
	statestest.Doc(t, "doc.go", statestest.Of(clientTable))
}
