package dht

import (
	"fmt"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht/muxrpc"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// setServer answers the registration of sets on a channel: targets, then as many events targets-data as the content takes, and
// targets-commit. The content is kept until the commit.
type setServer struct {
	link    *link
	maxName int
	// identify checks the sender of a request; ok is false if it cannot register on this channel.
	identify func(m TargetsRequest) (_ identity, ok bool)
	// handler returns the application's, nil where it is not available. It is called for each request.
	handler func() func(ports.SetRequest, func(ports.SetReply))

	request ports.SetRequest // the last one
	// accepted means that the offer in the last request was accepted.
	accepted bool
	// serial counts requests and commits. A reply to an earlier one than the last changes nothing.
	serial  int
	expects bool       // content may be sent
	content []byte     // received since
	size    int        // of it, with what was dropped
	dropped string     // reason for dropping it; "" for none
	timer   host.Timer // limits the time that content is kept; nil without any
	closed  bool
}

// identity is the sender of a request.
type identity struct {
	instance            domain.Instance
	proven, unconnected bool
	accepted            bool // the offer
}

// setMemory counts the content of sets on all channels of a transport, in bytes, and those that were dropped.
type setMemory struct {
	held                      int
	tooLarge, noRoom, tooLate uint64
}

func (sm *setMemory) counters() []ports.Counter {
	dropped := func(reason string, n uint64) ports.Counter {
		return ports.Counter{
			Name: "sets_dropped", Help: "Sets of targets dropped at a limit before they were complete.", Value: n,
			Labels: []ports.Label{{Name: "reason", Value: reason}},
		}
	}
	return []ports.Counter{dropped("size", sm.tooLarge), dropped("memory", sm.noRoom), dropped("time", sm.tooLate)}
}

// serve sets the methods. handler need not have a result yet.
func (s *setServer) serve(rpc *muxrpc.RPC) {
	rpc.Respond(methodTargets, s.onTargets)
	rpc.Respond(methodTargetsData, func(value []byte, reply func([]byte, error)) {
		s.onData(value)
		reply(nil, nil) // or it counts as under way
	})
	rpc.Respond(methodTargetsCommit, s.onCommit)
}

func (s *setServer) onTargets(value []byte, reply func([]byte, error)) {
	s.free()
	m, err := ParseTargetsRequest(value)
	if err != nil {
		reply(nil, decodeError(err))
		return
	}
	if m.Count > domain.MaxTargets { // before its signature is verified, because only the application limits requests
		s.reject(reply, fmt.Sprintf("the set has %d targets, want at most %d", m.Count, domain.MaxTargets))
		return
	}
	from, ok := s.identify(m)
	if !ok {
		s.reject(reply, notAvailable)
		return
	}
	s.accepted = from.accepted
	s.request = ports.SetRequest{
		Secret: m.Secret, Key: m.Key, Instance: from.instance, Revision: m.Revision, Base: m.Base, Count: int(m.Count),
		Proven: from.proven, Unconnected: from.unconnected,
	}
	s.pass(nil, reply)
}

// pass passes the last request to the application, and its reply back. Content may follow if the application needs it, and after a
// registration: proofs for targets that were rejected, as a change since the registered set.
func (s *setServer) pass(content *ports.SetContent, reply func([]byte, error)) {
	handler := s.handler()
	if handler == nil || s.closed {
		s.reject(reply, notAvailable)
		return
	}
	s.serial++
	serial := s.serial
	request, accepted := s.request, s.accepted
	request.Content = content
	handler(request, func(r ports.SetReply) {
		if serial == s.serial && !s.closed && r.Success {
			s.expects = true
			if r.Need == ports.NeedNothing {
				s.request.Base = s.request.Revision
			}
		}
		m := TargetsReply{Success: r.Success, Need: r.Need, Message: cut(r.Message)}
		if r.Success && r.Need == ports.NeedNothing {
			m.Accepted, m.Shared, m.Updated = accepted, r.Shared, r.Updated
			m.Elsewhere = r.Elsewhere
			m.Rejected = r.Rejected[:min(len(r.Rejected), domain.MaxTargets)]
		}
		reply(m.Append(make([]byte, 0, m.Size())), nil)
	})
}

// reject answers with a failure.
func (s *setServer) reject(reply func([]byte, error), message string) {
	m := TargetsReply{Message: message}
	reply(m.Append(make([]byte, 0, m.Size())), nil)
}

// onData keeps a piece of content, unless none is expected or a limit is exceeded: then nothing is kept, and the commit fails.
func (s *setServer) onData(piece []byte) {
	if !s.expects {
		return
	}
	s.size += len(piece)
	all := s.link.sets
	switch {
	case s.dropped != "":
	case s.size > maxSet:
		all.tooLarge++
		s.drop(tooLarge)
	case all.held+len(piece) > maxSets:
		all.noRoom++
		s.drop(fmt.Sprintf("this set and those that other clients send have %d bytes so far, want at most %d", all.held+len(piece), maxSets))
	default:
		all.held += len(piece)
		s.content = append(s.content, piece...)
		if s.timer == nil {
			s.timer = s.link.host.AfterFunc(maxSetTime, s.expire)
		}
	}
}

// expire drops content whose commit does not come.
func (s *setServer) expire() {
	s.link.sets.tooLate++
	s.drop(fmt.Sprintf("the set was not complete within %s", maxSetTime))
}

// drop drops the content, and what follows until the commit.
func (s *setServer) drop(reason string) {
	size := s.size
	s.free()
	s.expects, s.size, s.dropped = true, size, reason
}

const tooLarge = "too large" // reported with the size

// free drops everything that was received. No content is expected then.
func (s *setServer) free() {
	s.link.sets.held -= len(s.content)
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	s.content, s.size, s.dropped, s.expects = nil, 0, "", false
}

func (s *setServer) onCommit(value []byte, reply func([]byte, error)) {
	content, size, dropped, expected := s.content, s.size, s.dropped, s.expects
	s.free()
	m, err := ParseTargetsCommit(value)
	switch {
	case err != nil:
		reply(nil, decodeError(err))
		return
	case m.Bytes > maxSet || dropped == tooLarge:
		s.reject(reply, fmt.Sprintf("the set has %d bytes, want at most %d", max(m.Bytes, uint64(size)), maxSet))
		return
	case !expected:
		s.reject(reply, "no content of a set is expected")
		return
	case dropped != "":
		s.reject(reply, dropped)
		return
	case m.Bytes != uint64(size):
		s.reject(reply, fmt.Sprintf("%d bytes of the set have arrived, want %d", size, m.Bytes))
		return
	case m.Need == ports.NeedChanges && s.request.Base.IsZero():
		s.reject(reply, "the set has changes and no base")
		return
	}
	c, err := parseContent(content, contentRules{s.maxName, s.request.Key, s.proofMessage()})
	if err != nil {
		s.reject(reply, cut(fmt.Sprintf("content of the set: %v", err)))
		return
	}
	if m.Need == ports.NeedChanges {
		c.Since = s.request.Base
	}
	s.pass(&c, reply)
}

// proofMessage returns the message that proofs of former keys sign; nil without an encryption.
func (s *setServer) proofMessage() []byte {
	hash := s.link.conn.HandshakeHash()
	if hash == [64]byte{} {
		return nil
	}
	return formerMessage(s.request.Key, hash)
}

// close frees the memory when the channel has closed.
func (s *setServer) close() {
	s.free()
	s.closed = true
}
