package dht

import (
	"errors"
	"slices"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht/muxrpc"
	"github.com/dhtprom/dhtprom/ports"
)

// setExchange is the client's side of the registration of a set on one channel. Its states are in doc.go.
type setExchange struct {
	link    *link
	rpc     *muxrpc.RPC
	request ports.Registration
	offer   *Offer // nil for none
	// answered is called when the first answer arrives; nil is allowed.
	answered func()
	// done is called with the final answer, or with a *domain.RemoteError or *ports.ConnectionError.
	done func(TargetsReply, error)
	// lost is called when there is no answer because the channel has closed; nil is allowed.
	lost func()

	call   *muxrpc.Call  // nil while content is sent
	unsent []byte        // content
	size   int           // of all content
	need   ports.Need    // kind of the content
	next   bool          // the next pieces are sent in a later turn
	sent   int           // number of times that content was sent
	first  *TargetsReply // the reply before the proofs were sent
	proofs []byte        // those
	over   bool
}

var errSetAgain = errors.New("the scraper requests the set again and again")

// start sends the first request.
func (e *setExchange) start() {
	set := e.request.Set
	m := TargetsRequest{
		Secret: e.request.Secret, Key: e.request.Key, Revision: set.Targets.Revision(), Base: set.Base.Revision(), Count: uint64(set.Targets.Len()), Offer: e.offer,
	}
	e.ask(methodTargets, m.Append(make([]byte, 0, m.Size())))
}

func (e *setExchange) ask(method string, value []byte) {
	call, err := e.rpc.Request(method, value, e.onReply)
	if err != nil {
		e.link.host.Post(e.lose)
		return
	}
	e.call = call
}

// lose ends an exchange whose channel has closed.
func (e *setExchange) lose() {
	if e.over {
		return
	}
	e.over, e.unsent = true, nil
	if e.lost != nil {
		e.lost()
	}
}

// stop ends the exchange; done is not called.
func (e *setExchange) stop() {
	e.over = true
	e.unsent = nil
	if e.call != nil {
		e.call.Cancel(errCanceled)
	}
}

func (e *setExchange) finish(m TargetsReply, err error) {
	e.over = true
	e.done(m, err)
}

func (e *setExchange) onReply(value []byte, err error) {
	if e.over {
		return
	}
	e.call = nil
	remote, ok := answered(err)
	if err != nil && !ok {
		e.link.host.Post(e.lose) // the channel or the connection closed
		return
	}
	if e.answered != nil && !(ok && remote.Unknown) {
		e.answered()
		e.answered = nil
	}
	if ok {
		remote.Scraper = true
		e.finish(TargetsReply{}, remote)
		return
	}
	m, err := ParseTargetsReply(value)
	switch {
	case err != nil:
		e.finish(TargetsReply{}, connectionError(err))
	case !m.Success:
		e.finish(TargetsReply{}, &domain.RemoteError{Message: cut(m.Message), Scraper: true})
	case m.Need != ports.NeedNothing:
		e.sendSet(m.Need)
	default:
		e.registered(m)
	}
}

// sendSet sends the set, or what has changed.
func (e *setExchange) sendSet(need ports.Need) {
	if e.sent > setResends {
		e.finish(TargetsReply{}, connectionError(errSetAgain))
		return
	}
	set := e.request.Set
	base := set.Base
	if base.Revision().IsZero() || need != ports.NeedChanges || e.first != nil {
		need, base = ports.NeedAll, domain.TargetSet{}
	}
	changed, gone := set.Targets.Diff(base)
	e.send(need, appendContent(e.proofs, changed, gone))
}

// send sends content. One that no scraper takes is not sent: the commit with its size is rejected with the reason.
func (e *setExchange) send(need ports.Need, content []byte) {
	e.sent++
	e.need, e.size, e.unsent = need, len(content), content
	if e.size > maxSet {
		e.unsent = nil
	}
	e.pump()
}

// pump sends pieces while the connection takes them, a few in a turn, and then the commit. It runs again when the connection is drained.
func (e *setExchange) pump() {
	if e.over || e.call != nil || e.sent == 0 {
		return
	}
	for range setPieces {
		if len(e.unsent) == 0 || !e.link.mux.Drained() {
			break
		}
		n := min(len(e.unsent), setPiece)
		if e.rpc.Event(methodTargetsData, e.unsent[:n]) != nil {
			e.link.host.Post(e.lose)
			return
		}
		e.unsent = e.unsent[n:]
	}
	switch {
	case len(e.unsent) == 0:
		e.unsent = nil
		m := TargetsCommit{Need: e.need, Bytes: uint64(e.size)}
		e.ask(methodTargetsCommit, m.Append(make([]byte, 0, m.Size())))
	case e.link.mux.Drained() && !e.next:
		e.next = true
		e.link.host.Post(func() {
			e.next = false
			e.pump()
		})
	}
}

// registered ends the exchange, or proves former keys of targets that are pinned to them, once. A scraper without any target of the set does
// not keep it, and then needs all targets and the proofs.
func (e *setExchange) registered(m TargetsReply) {
	if e.first != nil {
		m.Updated, m.Shared, m.Accepted = m.Updated || e.first.Updated, m.Shared || e.first.Shared, m.Accepted || e.first.Accepted
		m.Elsewhere = m.Elsewhere || e.first.Elsewhere
		e.finish(m, nil)
		return
	}
	proofs := e.prove(m.Rejected)
	if len(proofs) == 0 {
		e.finish(m, nil)
		return
	}
	e.first, e.proofs = &m, proofs
	e.sent = setResends - 1 // after the proofs, once more
	e.send(ports.NeedChanges, slices.Clip(proofs))
}

// prove returns the items that prove the former keys of pinned targets.
func (e *setExchange) prove(rejected []domain.RejectedTarget) (items []byte) {
	set := e.request.Set
	if set.Former == nil {
		return nil
	}
	message := formerMessage(e.request.Key, e.link.conn.HandshakeHash())
	n := 0
	for _, t := range rejected {
		if _, ok := set.Targets.Get(t.Alias); !ok || t.Reason != domain.ReasonPinned || n == maxProofs {
			continue
		}
		if keys := set.Former(t.Alias); !keys.Public.IsZero() && keys.Public != e.request.Key {
			n++
			items = appendProof(items, t.Alias, keyPairOf(keys), message)
		}
	}
	return items
}

// reportSet reports the outcome of a registered set, apart from its success.
func reportSet(r ports.Registration, m TargetsReply) {
	if m.Shared && r.OnShared != nil {
		r.OnShared()
	}
	if m.Elsewhere && r.OnElsewhere != nil {
		r.OnElsewhere()
	}
	if r.Set.OnRejected == nil {
		return
	}
	var rejected []domain.RejectedTarget
	for _, t := range m.Rejected {
		if _, ok := r.Set.Targets.Get(t.Alias); ok {
			rejected = append(rejected, t)
		}
	}
	if len(rejected) > 0 {
		r.Set.OnRejected(rejected)
	}
}
