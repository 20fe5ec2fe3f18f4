package secret

import (
	"math/rand/v2"
	"testing"

	"github.com/dhtprom/dhtprom/internal/states"
	"github.com/dhtprom/dhtprom/internal/states/statestest"
)

type receiving uint8

const (
	awaitingHeader receiving = iota
	receivingOpen
	receivingFailed
)

var receivingTable = &states.Table[receiving]{Name: "receiving side", States: []states.Rule[receiving]{
	awaitingHeader:  {Name: "awaiting header", Why: "the owner of the stream gives up", Next: []receiving{receivingOpen, receivingFailed}},
	receivingOpen:   {Name: "open", Why: "likewise", Next: []receiving{receivingFailed}},
	receivingFailed: {Name: "failed"},
}}

func (s *Stream) receiving() receiving {
	switch {
	case s.err != nil:
		return receivingFailed
	case s.opened:
		return receivingOpen
	}
	return awaitingHeader
}

func TestDocListsTheTables(t *testing.T) { statestest.Doc(t, "doc.go", statestest.Of(receivingTable)) }

// The receiving side goes through the states of the table and no others, whatever arrives.
func TestReceivingKeepsToTheTable(t *testing.T) {
	g := load(t)
	w := statestest.NewWatch(t, receivingTable)
	random := rand.New(rand.NewChaCha8([32]byte{1}))
	for range 300 {
		from, to := g.pair(t)
		stream := from.AppendHeader(nil)
		for range 5 {
			stream = mustAppend(t, from, stream, make([]byte, random.IntN(100)))
		}
		if random.IntN(2) == 0 {
			stream[random.IntN(len(stream))] ^= 1
		}
		for len(stream) > 0 {
			n := 1 + random.IntN(len(stream))
			before := to.receiving()
			to.Receive(stream[:n], func([]byte) {})
			w.Step(before, to.receiving())
			stream = stream[n:]
		}
	}
}
