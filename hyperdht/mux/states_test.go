package mux_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/dhtprom/dhtprom/hyperdht/mux"
	"github.com/dhtprom/dhtprom/hyperdht/mux/muxtest"
	"github.com/dhtprom/dhtprom/internal/states"
	"github.com/dhtprom/dhtprom/internal/states/statestest"
)

type channelState uint8

const (
	channelOpening channelState = iota
	channelOpen
	channelClosed
)

var channelTable = &states.Table[channelState]{Name: "channel", States: []states.Rule[channelState]{
	channelOpening: {Name: "opening", Why: "until the other side opens or rejects it, or this side or the pipe closes", Next: []channelState{channelOpen, channelClosed}},
	channelOpen:    {Name: "open", Why: "until either side or the pipe closes", Next: []channelState{channelClosed}},
	channelClosed:  {Name: "closed"},
}}

func stateOf(c *mux.Channel) channelState {
	switch {
	case c.Closed():
		return channelClosed
	case c.Opened():
		return channelOpen
	}
	return channelOpening
}

type offerState uint8

const (
	offerWaiting offerState = iota
	offerAccepted
	offerRejected
	offerWithdrawn
)

var offerTable = &states.Table[offerState]{Name: "offer", States: []states.Rule[offerState]{
	offerWaiting:   {Name: "waiting", Why: "until the handler is finished, or the other side or the pipe closes", Next: []offerState{offerAccepted, offerRejected, offerWithdrawn}},
	offerAccepted:  {Name: "accepted"},
	offerRejected:  {Name: "rejected"},
	offerWithdrawn: {Name: "withdrawn"},
}}

func TestDocListsTheTables(t *testing.T) {
	statestest.Doc(t, "doc.go", statestest.Of(channelTable), statestest.Of(offerTable))
}

// Channels and offers go through the states of the tables and no others, whatever the two sides do.
func TestChannelsKeepToTheTables(t *testing.T) {
	channels, offers := statestest.NewWatch(t, channelTable), statestest.NewWatch(t, offerTable)
	random := rand.New(rand.NewChaCha8([32]byte{1}))
	for range 200 {
		wire := muxtest.NewWire()
		sides := [2]*mux.Mux{mux.New(wire.A), mux.New(wire.B)}
		var all []*mux.Channel
		var held []heldOffer
		for _, m := range sides {
			m.Handle("p", nil, func(o *mux.Offer) { o.Hold(); held = append(held, heldOffer{o, m}) })
		}
		open := func(m *mux.Mux, name string) *mux.Channel {
			c, err := m.Open(mux.ChannelOptions{Protocol: name})
			if err == nil {
				all = append(all, c)
			}
			return c
		}
		for range 30 {
			before := make([]channelState, len(all))
			for i, c := range all {
				before[i] = stateOf(c)
			}
			known := all
			m := sides[random.IntN(2)]
			switch random.IntN(6) {
			case 0:
				open(m, "p")
			case 1:
				open(m, fmt.Sprint("q", random.IntN(2)))
			case 2, 3:
				if len(all) > 0 {
					all[random.IntN(len(all))].Close()
				}
			case 4:
				if len(held) > 0 {
					o := held[0]
					held = held[1:]
					offers.Step(offerWaiting, release(o, sides, open, random.IntN(2) == 0))
				}
			default:
				if random.IntN(10) == 0 {
					m.Destroy(nil)
				}
			}
			wire.Run()
			for i, c := range known {
				channels.Step(before[i], stateOf(c))
			}
		}
	}
}

// heldOffer is an offer to a side.
type heldOffer struct {
	*mux.Offer
	to *mux.Mux
}

// release finishes the handler of an offer, after opening the channel or not, and returns what has become of the offer.
func release(o heldOffer, sides [2]*mux.Mux, open func(m *mux.Mux, name string) *mux.Channel, accept bool) offerState {
	rejected := sides[0].Stats().Rejected + sides[1].Stats().Rejected
	var c *mux.Channel
	if accept {
		c = open(o.to, o.Protocol())
	}
	o.Release()
	switch {
	case c != nil && c.Opened():
		return offerAccepted
	case sides[0].Stats().Rejected+sides[1].Stats().Rejected > rejected:
		return offerRejected
	}
	return offerWithdrawn
}
