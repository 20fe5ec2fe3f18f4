package dht

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/internal/states"
	"github.com/dhtprom/dhtprom/internal/states/statestest"
)

type linkState uint8

const (
	linkConnecting linkState = iota
	linkOpen
	linkEnding
	linkClosed
)

var linkTable = &states.Table[linkState]{Name: "link", States: []states.Rule[linkState]{
	linkConnecting: {Name: "connecting", Why: "until the connection opens or fails, or the last role leaves", Next: []linkState{linkOpen, linkEnding, linkClosed}},
	linkOpen:       {Name: "open", Why: "until the last role leaves, or the connection breaks", Next: []linkState{linkEnding, linkClosed}},
	linkEnding:     {Name: "ending", Why: "until the connection has closed, which hyperdht limits", Next: []linkState{linkClosed}},
	linkClosed:     {Name: "closed"},
}}

func (l *link) state() linkState {
	switch {
	case l.closed:
		return linkClosed
	case l.ending:
		return linkEnding
	case l.open:
		return linkOpen
	}
	return linkConnecting
}

type registrationState uint8

const (
	registrationAsking registrationState = iota
	registrationLingering
	registrationReplaced
	registrationEnded
)

var registrationTable = &states.Table[registrationState]{Name: "registration", States: []states.Rule[registrationState]{
	registrationAsking: {Name: "asking", Why: "until the scraper answers, its channel or connection closes, or the application cancels it",
		Next: []registrationState{registrationLingering, registrationReplaced, registrationEnded}},
	registrationLingering: {Name: "lingering", Limit: metricsLinger, Next: []registrationState{registrationReplaced, registrationEnded}},
	registrationReplaced:  {Name: "replaced"},
	registrationEnded:     {Name: "ended"},
}}

func (r *registration) state() registrationState {
	switch {
	case slices.Contains(r.link.roles, role(r)) && r.linger != nil:
		return registrationLingering
	case slices.Contains(r.link.roles, role(r)):
		return registrationAsking
	case r.link.shared(r):
		return registrationReplaced
	}
	return registrationEnded
}

type answerState uint8

const (
	answerWaiting answerState = iota
	answerCollecting
	answerSent
	answerDropped
)

var answerTable = &states.Table[answerState]{Name: "answer", States: []states.Rule[answerState]{
	answerWaiting:    {Name: "waiting", Why: "until there is room for it, or its connection closes", Next: []answerState{answerCollecting, answerDropped}},
	answerCollecting: {Name: "collecting", Why: "until the application answers, or its connection closes", Next: []answerState{answerWaiting, answerSent, answerDropped}},
	answerSent:       {Name: "sent"},
	answerDropped:    {Name: "dropped"},
}}

func (a *answer) state() answerState {
	all := a.server.link.answers
	switch {
	case slices.Contains(all.waiting, a):
		return answerWaiting
	case slices.Contains(all.running, a):
		return answerCollecting
	case slices.Contains(all.servers, a.server):
		return answerSent
	}
	return answerDropped
}

type goodbyesState uint8

const (
	goodbyesWaiting goodbyesState = iota
	goodbyesDialling
	goodbyesOpen
	goodbyesOver
)

var goodbyesTable = &states.Table[goodbyesState]{Name: "goodbyes", States: []states.Rule[goodbyesState]{
	goodbyesWaiting:  {Name: "waiting", Why: "until fewer than maxGoodbyeDials dial, or all are cancelled", Next: []goodbyesState{goodbyesDialling, goodbyesOver}},
	goodbyesDialling: {Name: "dialling", Why: "until the connection opens or fails, or all are cancelled", Next: []goodbyesState{goodbyesOpen, goodbyesOver}},
	goodbyesOpen:     {Name: "open", Why: "until all are answered or cancelled, or the channel or connection closes", Next: []goodbyesState{goodbyesOver}},
	goodbyesOver:     {Name: "over"},
}}

func (g *goodbyes) state() goodbyesState {
	switch {
	case g.over:
		return goodbyesOver
	case g.dialling:
		return goodbyesDialling
	case g.link != nil:
		return goodbyesOpen
	}
	return goodbyesWaiting
}

type heldState uint8

const (
	heldAsked heldState = iota
	heldDialled
	heldOver
)

var heldTable = &states.Table[heldState]{Name: "held goodbye", States: []states.Rule[heldState]{
	heldAsked:   {Name: "asked", Limit: heldTimeout, Next: []heldState{heldDialled, heldOver}},
	heldDialled: {Name: "dialled too", Why: "until either connection has an answer, the dial fails, or it is cancelled", Next: []heldState{heldOver}},
	heldOver:    {Name: "over"},
}}

func (g *heldGoodbye) state() heldState {
	switch {
	case g.over:
		return heldOver
	case g.cancelDial != nil:
		return heldDialled
	}
	return heldAsked
}

type heldRegistrationState uint8

const (
	heldRegistrationWaiting heldRegistrationState = iota
	heldRegistrationAsked
	heldRegistrationAnswered
	heldRegistrationDialled
	heldRegistrationOver
)

var heldRegistrationTable = &states.Table[heldRegistrationState]{Name: "held registration", States: []states.Rule[heldRegistrationState]{
	heldRegistrationWaiting: {Name: "waiting", Why: "until the application allows to send it or cancels it, or the channel closes",
		Next: []heldRegistrationState{heldRegistrationAsked, heldRegistrationDialled, heldRegistrationOver}},
	heldRegistrationAsked: {Name: "asked", Limit: heldSetTimeout,
		Next: []heldRegistrationState{heldRegistrationAnswered, heldRegistrationDialled, heldRegistrationOver}},
	heldRegistrationAnswered: {Name: "answered", Why: "until the set is registered or rejected, the channel closes, or the application cancels it",
		Next: []heldRegistrationState{heldRegistrationDialled, heldRegistrationOver}},
	heldRegistrationDialled: {Name: "dialled", Why: "until the dialled registration ends, or the application cancels it",
		Next: []heldRegistrationState{heldRegistrationOver}},
	heldRegistrationOver: {Name: "over"},
}}

func (h *heldRegistration) state() heldRegistrationState {
	switch {
	case h.over:
		return heldRegistrationOver
	case h.dialled:
		return heldRegistrationDialled
	case h.exchange == nil:
		return heldRegistrationWaiting
	case h.exchange.answered != nil:
		return heldRegistrationAsked
	}
	return heldRegistrationAnswered
}

type setState uint8

const (
	setAsked setState = iota
	setSending
	setCommitted
	setOver
)

var setTable = &states.Table[setState]{Name: "set", States: []states.Rule[setState]{
	setAsked:     {Name: "asked", Why: "until the scraper answers, the channel closes, or the exchange is stopped", Next: []setState{setSending, setCommitted, setOver}},
	setSending:   {Name: "sending", Why: "until all content is sent, the channel closes, or the exchange is stopped", Next: []setState{setCommitted, setOver}},
	setCommitted: {Name: "committed", Why: "until the scraper answers, the channel closes, or the exchange is stopped", Next: []setState{setSending, setOver}},
	setOver:      {Name: "over"},
}}

func (e *setExchange) state() setState {
	switch {
	case e.over:
		return setOver
	case e.sent == 0:
		return setAsked
	case e.unsent != nil:
		return setSending
	}
	return setCommitted
}

func TestDocListsTheTables(t *testing.T) {
	statestest.Doc(t, "doc.go", statestest.Of(linkTable), statestest.Of(registrationTable), statestest.Of(answerTable),
		statestest.Of(goodbyesTable), statestest.Of(heldTable), statestest.Of(heldRegistrationTable), statestest.Of(setTable))
}

// Machines watches the machines of transports, apart from answers.
type Machines struct {
	links         *statestest.Machines[*link, linkState]
	registrations *statestest.Machines[*registration, registrationState]
	goodbyes      *statestest.Machines[*goodbyes, goodbyesState]
	held          *statestest.Machines[*heldGoodbye, heldState]
	heldSets      *statestest.Machines[*heldRegistration, heldRegistrationState]
	sets          *statestest.Machines[*setExchange, setState]
}

// WatchMachines starts to watch. At the end of the test each transition must have been seen.
func WatchMachines(t testing.TB) *Machines {
	return &Machines{
		statestest.NewMachines(statestest.NewWatch(t, linkTable), (*link).state),
		statestest.NewMachines(statestest.NewWatch(t, registrationTable), (*registration).state),
		statestest.NewMachines(statestest.NewWatch(t, goodbyesTable), (*goodbyes).state),
		statestest.NewMachines(statestest.NewWatch(t, heldTable), (*heldGoodbye).state),
		statestest.NewMachines(statestest.NewWatch(t, heldRegistrationTable), (*heldRegistration).state),
		statestest.NewMachines(statestest.NewWatch(t, setTable), (*setExchange).state),
	}
}

// Look compares the states with those at the last look.
func (m *Machines) Look(t *Transport) {
	for _, l := range t.links {
		for _, r := range l.roles {
			switch r := r.(type) {
			case *registration:
				m.registrations.Add(r)
				if r.set != nil {
					m.sets.Add(r.set)
				}
			case *metricsServer:
				m.held.Add(r.goodbyes...)
				m.heldSets.Add(r.registrations...)
				for _, h := range r.registrations {
					if h.exchange != nil {
						m.sets.Add(h.exchange)
					}
				}
			}
		}
	}
	m.links.Add(t.links...)
	m.goodbyes.Add(t.goodbyes...)
	m.links.Look()
	m.registrations.Look()
	m.goodbyes.Look()
	m.held.Look()
	m.heldSets.Look()
	m.sets.Look()
}

// Requests, pages of any size, acknowledgements and closed connections in any order.
func TestAnswersKeepToTheTable(t *testing.T) {
	answers := statestest.NewMachines(statestest.NewWatch(t, answerTable), (*answer).state)
	random := rand.New(rand.NewPCG(1, 1))
	w := newReaders()
	w.slow = true
	w.loop.AfterTurn = func() {
		answers.Add(w.answers.waiting...)
		answers.Add(w.answers.running...)
		answers.Look()
	}
	var all []*reader
	for range 400 {
		if len(all) < 4 {
			all = append(all, w.connect(t, byte(1+random.IntN(3))))
		}
		i := random.IntN(len(all))
		switch c := all[i]; random.IntN(8) {
		case 0:
			w.loop.Turn(func() { c.Destroy(nil) })
		case 1, 2, 3:
			w.ask(c)
		case 4, 5:
			w.size = 1 + random.IntN(15<<20)
			w.endCollections()
		default:
			c.unsent = 0
			w.loop.Advance(time.Duration(random.IntN(100)) * time.Millisecond)
		}
		all = slices.DeleteFunc(all, func(c *reader) bool { return c.ended })
	}
}
