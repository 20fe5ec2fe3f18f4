package udx

import (
	"math/rand/v2"
	"testing"

	"github.com/dhtprom/dhtprom/internal/cost"
	"github.com/dhtprom/dhtprom/internal/states"
	"github.com/dhtprom/dhtprom/internal/states/statestest"
)

type streamState uint8

const (
	streamCreated streamState = iota
	streamConnected
	streamClosed
)

var streamTable = &states.Table[streamState]{Name: "stream", States: []states.Rule[streamState]{
	streamCreated:   {Name: "created", Why: "until the user connects or destroys it", Next: []streamState{streamConnected, streamClosed}},
	streamConnected: {Name: "connected", Why: "until both directions are done, it is destroyed, or a part of the machine gives up", Next: []streamState{streamClosed}},
	streamClosed:    {Name: "closed"},
}}

func (m *Machine) streamState() streamState {
	switch {
	case m.closed:
		return streamClosed
	case m.path.remote != nil:
		return streamConnected
	}
	return streamCreated
}

type directionState uint8

const (
	directionOpen directionState = iota
	directionEnded
	directionDone
)

var sendingTable = &states.Table[directionState]{Name: "sending direction", States: []states.Rule[directionState]{
	directionOpen:  {Name: "open", Why: "until the user ends it", Next: []directionState{directionEnded}},
	directionEnded: {Name: "ended", Why: "until everything is acknowledged, or the stream closes", Next: []directionState{directionDone}},
	directionDone:  {Name: "done"},
}}

func (m *Machine) sendingState() directionState {
	switch {
	case m.localDone():
		return directionDone
	case m.writer.ended:
		return directionEnded
	}
	return directionOpen
}

var receivingTable = &states.Table[directionState]{Name: "receiving direction", States: []states.Rule[directionState]{
	directionOpen:  {Name: "open", Why: "until the end of the peer is next in order", Next: []directionState{directionEnded}},
	directionEnded: {Name: "ended", Why: "until everything is read and acknowledged, and the end reported", Next: []directionState{directionDone}},
	directionDone:  {Name: "done"},
}}

func (m *Machine) receivingState() directionState {
	switch {
	case m.in.endReported:
		return directionDone
	case m.in.endSeen:
		return directionEnded
	}
	return directionOpen
}

type packetState uint8

const (
	packetUnsent packetState = iota
	packetInFlight
	packetLost
	packetAcked
)

var packetTable = &states.Table[packetState]{Name: "packet", States: []states.Rule[packetState]{
	packetUnsent:   {Name: "unsent", Why: "until window, congestion control and pacing let it leave", Next: []packetState{packetInFlight}},
	packetInFlight: {Name: "in flight", Why: "until it is acknowledged or found lost", Next: []packetState{packetLost, packetAcked}},
	packetLost:     {Name: "lost", Why: "until it leaves again, or its acknowledgement comes late", Next: []packetState{packetInFlight, packetAcked}},
	packetAcked:    {Name: "acknowledged"},
}}

func (m *Machine) packetState(s Seq) packetState {
	switch {
	case s.Before(m.out.acked):
		return packetAcked
	case !s.Before(m.out.sent):
		return packetUnsent
	case m.out.lost.has(s):
		return packetLost
	case m.out.unacked.has(s):
		return packetInFlight
	}
	return packetAcked
}

type allowanceState uint8

const (
	allowanceLimited allowanceState = iota
	allowanceValidated
)

var allowanceTable = &states.Table[allowanceState]{Name: "allowance", States: []states.Rule[allowanceState]{
	allowanceLimited:   {Name: "limited", Why: "until the address has answered", Next: []allowanceState{allowanceValidated}},
	allowanceValidated: {Name: "validated"},
}}

func (a *Allowance) state() allowanceState {
	if a.Limited() {
		return allowanceLimited
	}
	return allowanceValidated
}

// The states and transitions that doc.go lists are those of the tables.
func TestDocListsTheTables(t *testing.T) {
	statestest.Doc(t, "doc.go", statestest.Of(streamTable), statestest.Of(sendingTable), statestest.Of(receivingTable), statestest.Of(packetTable),
		statestest.Of(recoveryTable), statestest.Of(bbrTable), statestest.Of(mtuTable), statestest.Of(blackHoleTable), statestest.Of(allowanceTable))
}

// observed is the states of a machine at one moment.
type observed struct {
	stream             streamState
	sending, receiving directionState
	first              Seq // of packets
	packets            []packetState
}

// Streams, their directions and their packets go through the states of the tables and no others, whatever arrives.
func TestStreamsKeepToTheTables(t *testing.T) {
	streams := statestest.NewWatch(t, streamTable)
	sending, receiving := statestest.NewWatch(t, sendingTable), statestest.NewWatch(t, receivingTable)
	packets := statestest.NewWatch(t, packetTable)
	random := rand.New(rand.NewChaCha8([32]byte{1}))
	play := func() {
		d := newDuel(t, Seq(random.Uint32()))
		d.meter = cost.Start(t, cost.Bound{StepsPerByte: work.StepsPerByte, Steps: work.Steps}) // observing allocates
		defer d.meter.Stop()
		last := map[*duelist]*observed{}
		d.observe = func(e *duelist) {
			now := &observed{e.streamState(), e.sendingState(), e.receivingState(), e.Machine.out.acked, nil}
			before := last[e]
			if last[e] = now; before == nil {
				return
			}
			streams.Step(before.stream, now.stream)
			if now.stream == streamClosed {
				return // and has released its packets
			}
			sending.Step(before.sending, now.sending)
			receiving.Step(before.receiving, now.receiving)
			for i, state := range before.packets {
				packets.Step(state, e.packetState(before.first+Seq(i)))
			}
			for s := now.first; s != e.Machine.out.next; s++ {
				now.packets = append(now.packets, e.packetState(s))
			}
		}
		program := make(script, 100)
		for i := range program {
			program[i] = byte(random.Uint32())
		}
		for len(program) > 0 {
			d.step(&program)
		}
		d.heal()
	}
	for range 30 {
		cost.Repeat(t, play)
	}
	for _, connect := range []bool{true, false} {
		w := newWorld(t, link{}, 1)
		if connect {
			before := w.a.streamState()
			w.connect()
			streams.Step(before, w.a.streamState())
		}
		before := w.a.streamState()
		w.a.Destroy()
		streams.Step(before, w.a.streamState())
	}
}

func TestAllowancesKeepToTheTable(t *testing.T) {
	w := statestest.NewWatch(t, allowanceTable)
	a := &Allowance{}
	for _, do := range []func(){func() { a.Receive(10) }, func() { a.Send(100) }, a.Validate, func() { a.Receive(10) }, func() { a.Send(100) }, a.Validate} {
		before := a.state()
		do()
		w.Step(before, a.state())
	}
}
