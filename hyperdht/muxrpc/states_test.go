package muxrpc

import (
	"math/rand/v2"
	"testing"

	"github.com/dhtprom/dhtprom/hyperdht/mux"
	"github.com/dhtprom/dhtprom/hyperdht/mux/muxtest"
	"github.com/dhtprom/dhtprom/internal/states"
	"github.com/dhtprom/dhtprom/internal/states/statestest"
)

type rpcState uint8

const (
	rpcOpening rpcState = iota
	rpcOpen
	rpcEnding
	rpcClosed
)

var rpcTable = &states.Table[rpcState]{Name: "side", States: []states.Rule[rpcState]{
	rpcOpening: {Name: "opening", Why: "until the other side opens or rejects it, or this side or the pipe closes", Next: []rpcState{rpcOpen, rpcEnding, rpcClosed}},
	rpcOpen:    {Name: "open", Why: "until either side or the pipe closes", Next: []rpcState{rpcEnding, rpcClosed}},
	rpcEnding:  {Name: "ending", Why: "until nothing is pending and nothing runs", Next: []rpcState{rpcClosed}},
	rpcClosed:  {Name: "closed"},
}}

func (r *RPC) state() rpcState {
	switch {
	case r.closed:
		return rpcClosed
	case r.ending:
		return rpcEnding
	case r.Opened():
		return rpcOpen
	}
	return rpcOpening
}

func TestDocListsTheTables(t *testing.T) { statestest.Doc(t, "doc.go", statestest.Of(rpcTable)) }

// Both sides go through the states of the table and no others, whatever they do.
func TestSidesKeepToTheTable(t *testing.T) {
	w := statestest.NewWatch(t, rpcTable)
	random := rand.New(rand.NewChaCha8([32]byte{1}))
	for range 500 {
		wire := muxtest.NewWire()
		muxes := [2]*mux.Mux{mux.New(wire.A), mux.New(wire.B)}
		var sides []*RPC
		var replies []func([]byte, error)
		for range 30 {
			before := make([]rpcState, len(sides))
			for i, s := range sides {
				before[i] = s.state()
			}
			known := sides
			if len(sides) < 2 && random.IntN(3) == 0 {
				s, err := New(muxes[len(sides)], Options{})
				if err == nil {
					s.Respond("m", func(_ []byte, reply func([]byte, error)) { replies = append(replies, reply) })
					sides = append(sides, s)
				}
			}
			if len(known) > 0 {
				s := known[random.IntN(len(known))]
				switch random.IntN(12) {
				case 0:
					s.End()
				case 1:
					s.Destroy(nil)
				case 2:
					muxes[0].Destroy(nil)
				case 3, 4:
					for _, reply := range replies {
						reply(nil, nil)
					}
					replies = nil
				default:
					s.Request("m", nil, func([]byte, error) {})
				}
			}
			if random.IntN(2) == 0 {
				wire.Run()
			}
			for i, s := range known {
				w.Step(before[i], s.state())
			}
		}
	}
}
