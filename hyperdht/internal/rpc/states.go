package rpc

import "github.com/dhtprom/dhtprom/internal/states"

type lifeState uint8

const (
	lifeRunning lifeState = iota
	lifeSuspended
	lifeClosed
)

var lifeTable = &states.Table[lifeState]{Name: "endpoint", States: []states.Rule[lifeState]{
	lifeRunning:   {Name: "running", Why: "until the application suspends or closes it", Next: []lifeState{lifeSuspended, lifeClosed}},
	lifeSuspended: {Name: "suspended", Why: "until the application resumes or closes it", Next: []lifeState{lifeRunning, lifeClosed}},
	lifeClosed:    {Name: "closed"},
}}

// role is the role of the node in the DHT.
type role uint8

const (
	ephemeral role = iota
	persistent
)

var roleTable = &states.Table[role]{Name: "role", States: []states.Rule[role]{
	ephemeral:  {Name: "ephemeral", Why: "until the node has been stable for 20 min, has one public address, and its server port is reachable", Next: []role{persistent}},
	persistent: {Name: "persistent", Why: "until the machine wakes up, the endpoint resumes, or the public address is another one", Next: []role{ephemeral}},
}}

// access is the reachability of the server socket.
type access uint8

const (
	firewalled access = iota
	reachable
)

var accessTable = &states.Table[access]{Name: "access", States: []states.Rule[access]{
	firewalled: {Name: "firewalled", Why: "until nodes have reached the server socket that were asked to, or its address is known", Next: []access{reachable}},
	reachable:  {Name: "reachable", Why: "until the known address is withdrawn that it depends on", Next: []access{firewalled}},
}}

type callState uint8

const (
	callMade callState = iota
	callHeld
	callQueued
	callInFlight
	callEnded
)

var callStates = &states.Table[callState]{Name: "call", States: []states.Rule[callState]{
	callMade:     {Name: "made", Why: "is held, queued or sent in the same turn", Next: []callState{callHeld, callQueued, callInFlight, callEnded}},
	callHeld:     {Name: "held", Why: "until the endpoint resumes or closes", Next: []callState{callQueued, callInFlight, callEnded}},
	callQueued:   {Name: "queued", Why: "the window drains, and sends the queue", Next: []callState{callInFlight, callEnded}},
	callInFlight: {Name: "in flight", Why: "each transmission has a timeout, and so many are repeated", Next: []callState{callInFlight, callQueued, callEnded}},
	callEnded:    {Name: "ended"},
}}

type queryState uint8

const (
	queryOpening queryState = iota
	queryAsking
	queryCommitting
	queryEnded
)

var queryTable = &states.Table[queryState]{Name: "query", States: []states.Rule[queryState]{
	queryOpening:    {Name: "opening", Why: "opens at the end of the turn", Next: []queryState{queryAsking, queryEnded}},
	queryAsking:     {Name: "asking", Why: "calls end, and each candidate is asked once", Next: []queryState{queryCommitting, queryEnded}},
	queryCommitting: {Name: "committing", Why: "the calls of the commits end", Next: []queryState{queryEnded}},
	queryEnded:      {Name: "ended"},
}}

type candidateState uint8

const (
	candidateWaiting candidateState = iota // to be asked, or asked
	candidateAnswered
	candidateDown
)

var candidateTable = &states.Table[candidateState]{Name: "candidate", States: []states.Rule[candidateState]{
	candidateWaiting:  {Name: "waiting", Why: "its call ends, or the query does", Next: []candidateState{candidateAnswered, candidateDown}},
	candidateAnswered: {Name: "answered"},
	candidateDown:     {Name: "down"},
}}

// reachState is the state of the reachability of DHT nodes.
type reachState uint8

const (
	reachStarting reachState = iota
	reachAnswering
	reachSilent
)

var reachTable = &states.Table[reachState]{Name: "reach", States: []states.Rule[reachState]{
	reachStarting:  {Name: "starting", Why: "until bootstrapping has ended", Next: []reachState{reachAnswering, reachSilent}},
	reachAnswering: {Name: "answering", Why: "until so many requests in a row time out, for so long", Next: []reachState{reachSilent}},
	reachSilent:    {Name: "silent", Why: "until a node answers", Next: []reachState{reachAnswering}},
}}

type rejoinState uint8

const (
	rejoinWaiting rejoinState = iota
	rejoinAsking
)

var rejoinTable = &states.Table[rejoinState]{Name: "rejoin", States: []states.Rule[rejoinState]{
	rejoinWaiting: {Name: "waiting", Why: "counts ticks", Next: []rejoinState{rejoinAsking}},
	rejoinAsking:  {Name: "asking", Why: "a call ends, and so does the lookup of a name", Next: []rejoinState{rejoinWaiting}},
}}

// Faults calls tell with a transition that no table of states lists, if there was one: a bug of this package.
func (e *Endpoint) Faults(tell func(what string)) {
	if e.faults.Last != "" {
		tell(e.faults.Last)
	}
}
