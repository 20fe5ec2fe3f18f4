package hyperdht

import (
	"testing"

	"github.com/dhtprom/dhtprom/hyperdht/internal/secret"
	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
)

// Comments of public names give limits as numbers, since go doc does not show the constants.
func TestNumbersInPublicComments(t *testing.T) {
	for what, n := range map[string]struct{ got, want int }{
		"Connection.Trust, of a message":            {maxUnprovenMessage, 16 << 10},
		"Connection.Send, before there is a path":   {maxPendingSends, 1024},
		"Connection.SendUnordered, of all":          {udx.MaxMessage - secret.UnorderedOverhead, 2004},
		"Connection.Send, of a message, rounded up": {secret.MaxMessage >> 10, 16<<10 - 1},
	} {
		if n.got != n.want {
			t.Errorf("%s: the limit is %d, the comment has %d", what, n.got, n.want)
		}
	}
}
