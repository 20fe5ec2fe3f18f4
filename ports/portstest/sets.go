package portstest

import (
	"errors"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
)

// ErrSetAgain is the error, inside a *ports.ConnectionError, of a registration whose set the scraper requests again and again.
var ErrSetAgain = errors.New("the scraper requests the set again and again")

// setResends is the number of times that a set is sent again, and maxProofs that of former keys that are proven at a time.
const (
	setResends = 2
	maxProofs  = 256
)

// setExchange registers a set: without its content first, then with what the scraper needs, and then with proofs of former keys for
// targets that are pinned to them. A scraper without any target of the set then needs all again.
type setExchange struct {
	transport *Transport
	link      *link
	request   ports.Registration
	base      domain.Revision
	sent      int                               // number of times that the set was sent
	proven    map[domain.Alias]domain.PublicKey // the proofs that were sent; nil for none
	updated   bool
	over      func() bool
	finish    func(updated bool, err error)
}

// askSet runs at the scraper. The link ends with the exchange.
func (t *Transport) askSet(r ports.Registration, l *link, over func() bool, finish func(updated bool, err error)) {
	e := &setExchange{transport: t, link: l, request: r, base: r.Set.Base.Revision(), over: over, finish: func(updated bool, err error) {
		finish(updated, err)
		l.end(nil, nil)
	}}
	e.ask(nil)
}

// ask runs at the scraper.
func (e *setExchange) ask(content *ports.SetContent) {
	t, r := e.transport, e.request
	if e.link.closed || e.over() || t.net.silent[r.Scraper] {
		return
	}
	answer := e.link.aliases.OnSet
	if answer == nil || t.net.NoSets {
		e.back(func() {
			e.fail(&domain.RemoteError{Message: "UNKNOWN_METHOD: Unknown method 'targets'", Unknown: true, Scraper: true})
		})
		return
	}
	instance := r.Instance
	if instance.IsZero() {
		instance = domain.InstanceOf(r.Dial.Public, r.Key)
	}
	if t.Proves {
		e.link.server.offer(r.Key)
	}
	answer(ports.SetRequest{
		Secret: r.Secret, Key: r.Key, Instance: instance, Revision: r.Set.Targets.Revision(), Base: e.base, Count: r.Set.Targets.Len(),
		Proven: !t.Unproven, Unconnected: t.Proves && !t.reached(r.Key), Content: content,
	}, func(reply ports.SetReply) { e.back(func() { e.onReply(reply) }) })
}

// fail ends the exchange with an error.
func (e *setExchange) fail(err error) {
	const updated = false
	e.finish(updated, err)
}

// back runs f at the client.
func (e *setExchange) back(f func()) { e.transport.net.loop.AfterFunc(Latency, f) }

// send sends content to the scraper.
func (e *setExchange) send(content ports.SetContent) {
	e.transport.net.loop.AfterFunc(Latency, func() { e.ask(&content) })
}

func (e *setExchange) onReply(reply ports.SetReply) {
	switch {
	case e.over() || e.link.closed:
	case !reply.Success:
		e.fail(&domain.RemoteError{Message: reply.Message, Scraper: true})
	case reply.Need != ports.NeedNothing:
		e.sendSet(reply.Need)
	default:
		e.registered(reply)
	}
}

func (e *setExchange) sendSet(need ports.Need) {
	if e.sent > setResends {
		e.fail(&ports.ConnectionError{Err: ErrSetAgain})
		return
	}
	e.sent++
	base := e.request.Set.Base
	if need != ports.NeedChanges || e.proven != nil {
		base = domain.TargetSet{}
	}
	content := ports.SetContent{Since: base.Revision(), Former: e.proven}
	content.Targets, content.Gone = e.request.Set.Targets.Diff(base)
	e.send(content)
}

func (e *setExchange) registered(reply ports.SetReply) {
	set := e.request.Set
	e.updated = e.updated || reply.Updated
	var rejected []domain.RejectedTarget
	former := map[domain.Alias]domain.PublicKey{}
	for _, t := range reply.Rejected {
		if _, ok := set.Targets.Get(t.Alias); !ok {
			continue
		}
		rejected = append(rejected, t)
		if t.Reason != domain.ReasonPinned || set.Former == nil || len(former) == maxProofs {
			continue
		}
		if keys := set.Former(t.Alias); !keys.Public.IsZero() && keys.Public != e.request.Key {
			former[t.Alias] = keys.Public
		}
	}
	if len(former) > 0 && e.proven == nil {
		e.proven, e.sent = former, setResends // the set once more, if the scraper then needs it
		e.base = set.Targets.Revision()
		e.send(ports.SetContent{Since: e.base, Former: former})
		return
	}
	if reply.Shared && e.request.OnShared != nil {
		e.request.OnShared()
	}
	if reply.Elsewhere && e.request.OnElsewhere != nil {
		e.request.OnElsewhere()
	}
	if len(rejected) > 0 && set.OnRejected != nil {
		set.OnRejected(rejected)
	}
	e.finish(e.updated, nil)
}
