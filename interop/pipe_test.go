package interop_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/interop/jspeer"
	"github.com/dhtprom/dhtprom/interop/process"
)

// Pipes of the program hyperdht with those of the package hyperbeam.

// beam is a side of a pipe in JavaScript.
type beam struct {
	*jspeer.Peer
	On  int    `json:"on"`
	Key string `json:"key"` // the passphrase
}

func startBeam(t testing.TB, net testnet, args jspeer.Args) *beam {
	t.Helper()
	b := &beam{Peer: jspeer.Start(t)}
	args["on"] = jspeer.StartNode(b.Peer, net.dht(nil)).On
	b.Call("beam", args, b)
	return b
}

// says sends a line, and waits for one.
func (b *beam) says(line, want string) {
	b.Call("send", jspeer.Args{"on": b.On, "bytes": hex.EncodeToString([]byte(line))}, nil)
	b.Await("data", func(e jspeer.Event) bool {
		return e.Of == b.On && strings.Contains(e.String(), hex.EncodeToString([]byte(want)))
	})
}

// pipe starts a side of a pipe of the program hyperdht.
func pipe(t testing.TB, net testnet, stdin string, args ...string) *process.Process {
	t.Helper()
	args = append([]string{"pipe", "--dht.bootstrap=" + net.bootstrap[0], "--dht.listen-address=127.0.0.1:0"}, args...)
	return process.Start(t, process.Command{Path: "hyperdht", Args: args, Stdin: strings.NewReader(stdin)})
}

func TestPipesToHyperbeam(t *testing.T) {
	t.Parallel()
	net := goTestnet(t)
	theirs := startBeam(t, net, jspeer.Args{})
	theirs.Await("remote-address", jspeer.Of(theirs.On))
	ours := pipe(t, net, "from Go\n", theirs.Key)
	theirs.says("from JavaScript\n", "from Go\n")
	ours.Await(`^from JavaScript$`)
	theirs.Await("close", jspeer.Of(theirs.On))
	if code := ours.Wait(); code != 0 {
		t.Errorf("ended with code %d", code)
	}
}

func TestPipesFromHyperbeam(t *testing.T) {
	t.Parallel()
	net := goTestnet(t)
	ours := pipe(t, net, "from Go\n")
	theirs := startBeam(t, net, jspeer.Args{"key": ours.Await(`hyperdht pipe ([a-z2-7]{52})$`)[1]})
	theirs.says("from JavaScript\n", "from Go\n")
	ours.Await(`^from JavaScript$`)
	theirs.Await("close", jspeer.Of(theirs.On))
	if code := ours.Wait(); code != 0 {
		t.Errorf("ended with code %d", code)
	}
}
