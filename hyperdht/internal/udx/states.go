package udx

import "github.com/dhtprom/dhtprom/internal/states"

// recoveryState is the state of the sender after losses.
type recoveryState uint8

const (
	open       recoveryState = iota
	recovering               // packets were found lost
	timedOut                 // the retransmission timer expired
)

var recoveryTable = &states.Table[recoveryState]{Name: "recovery", States: []states.Rule[recoveryState]{
	open:       {Name: "open", Why: "until a packet is found lost, or the retransmission timer expires", Next: []recoveryState{recovering, timedOut}},
	recovering: {Name: "recovering", Why: "until everything sent before is acknowledged, or the timer expires", Next: []recoveryState{open, timedOut}},
	timedOut:   {Name: "timed out", Why: "likewise; 7 expiries without progress close the stream", Next: []recoveryState{open, timedOut}},
}}

type bbrMode uint8

const (
	startup bbrMode = iota
	drain
	probeBW
	probeRTT
)

var bbrTable = &states.Table[bbrMode]{Name: "congestion controller", States: []states.Rule[bbrMode]{
	startup:  {Name: "startup", Why: "until the delivery rate grows no more", Next: []bbrMode{drain, probeRTT}},
	drain:    {Name: "drain", Why: "until no more is in flight than the path holds", Next: []bbrMode{startup, probeBW, probeRTT}},
	probeBW:  {Name: "probe bandwidth", Why: "until no smaller round trip was seen for 10 s, or the path changes", Next: []bbrMode{startup, probeRTT}},
	probeRTT: {Name: "probe RTT", Why: "a round, and 200 ms, at the smallest window", Next: []bbrMode{startup, probeBW}},
}}

type mtuState uint8

const (
	mtuReady mtuState = iota // for a packet that can be a probe
	mtuProbing
	mtuDone
)

var mtuTable = &states.Table[mtuState]{Name: "MTU search", States: []states.Rule[mtuState]{
	mtuReady:   {Name: "ready", Why: "until there is a packet that padding makes a probe", Next: []mtuState{mtuProbing}},
	mtuProbing: {Name: "probing", Why: "until the probe is acknowledged or lost", Next: []mtuState{mtuReady, mtuDone}},
	mtuDone:    {Name: "done"},
}}

type blackHoleState uint8

const (
	blackHoleWatching blackHoleState = iota
	blackHoleDue
	blackHoleAsking
	blackHolePausing
)

var blackHoleTable = &states.Table[blackHoleState]{Name: "black hole detection", States: []states.Rule[blackHoleState]{
	blackHoleWatching: {Name: "watching", Why: "until the retransmission timer expires for a large packet", Next: []blackHoleState{blackHoleDue}},
	blackHoleDue:      {Name: "due", Why: "until the packet leaves again, or is acknowledged", Next: []blackHoleState{blackHoleAsking, blackHoleWatching}},
	blackHoleAsking:   {Name: "asking", Why: "until the packet or the heartbeat is answered, or the timer expires", Next: []blackHoleState{blackHolePausing, blackHoleDue, blackHoleWatching}},
	blackHolePausing:  {Name: "pausing", Limit: blackHolePause, Next: []blackHoleState{blackHoleDue, blackHoleWatching}},
}}
