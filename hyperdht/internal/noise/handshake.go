package noise

import (
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/flynn/noise"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/internal/states"
)

// Errors of a handshake. A failed authentication is reported with the error of the cipher.
var (
	// ErrOutOfTurn is returned when a message is written or read that is not due: local misuse.
	ErrOutOfTurn = errors.New("noise: message out of turn")
	// ErrTooLong is returned for messages above MaxMessage.
	ErrTooLong = errors.New("noise: message too long")
	// ErrShort is returned for messages that cannot hold their keys and tags.
	ErrShort = errors.New("noise: message too short")
)

// Handshake is one side of a handshake. Make it with NewInitiator or NewResponder.
type Handshake struct {
	curve     *curve
	hs        *noise.HandshakeState
	initiator bool
	state     state
	result    Result
}

// state is the state of a handshake. Each side starts fresh, handles one message, and is done after the second.
type state uint8

const (
	stateFresh state = iota // nothing sent or received
	stateHalf               // initiator: waiting for the reply; responder: about to answer
	stateDone               // the result is there
	stateSpent              // responder: the first message was no good
)

// tables of both sides. The only inputs are calls of the owner, which may drop the handshake in any state.
var (
	initiatorTable = &states.Table[state]{Name: "initiator", States: []states.Rule[state]{
		stateFresh: {Name: "fresh", Why: "the first message is made by a call", Next: []state{stateHalf}},
		stateHalf:  {Name: "waiting", Why: "the owner of the handshake gives up", Next: []state{stateDone}},
		stateDone:  {Name: "done"},
	}}
	responderTable = &states.Table[state]{Name: "responder", States: []states.Rule[state]{
		stateFresh: {Name: "fresh", Why: "the first message is read by a call", Next: []state{stateHalf, stateSpent}},
		stateHalf:  {Name: "answering", Why: "the answer is made by a call", Next: []state{stateDone}},
		stateDone:  {Name: "done"},
		stateSpent: {Name: "spent"},
	}}
)

// become moves to the next state and panics on a transition that no table lists.
func (h *Handshake) become(next state) {
	table := initiatorTable
	if !h.initiator {
		table = responderTable
	}
	if !table.Allows(h.state, next) {
		panic(fmt.Sprintf("noise: %s: no transition from %d to %d", table.Name, h.state, next))
	}
	h.state = next
}

// Result holds the keys and the hash of a completed handshake. It prints without its secrets.
type Result struct {
	// Hash is the final handshake hash, the same on both sides.
	Hash [64]byte
	// Tx and Rx are the keys of the streams that this side sends and receives.
	Tx, Rx [32]byte
	// HolepunchSecret is the key of the hole punching payloads, the same on both sides.
	HolepunchSecret [32]byte
	// RemotePublicKey is the authenticated static key of the other side.
	RemotePublicKey id.PublicKey
}

// String names the other side and nothing secret.
func (r Result) String() string { return "noise.Result{" + r.RemotePublicKey.Short() + "}" }

// GoString is String: %#v must not show the keys either.
func (r Result) GoString() string { return r.String() }

// LogValue is String as a log value.
func (r Result) LogValue() slog.Value { return slog.StringValue(r.String()) }

// NewInitiator starts the side that connects to a known key. The key is checked by WriteMessage.
// rand is read once, for the ephemeral key pair.
func NewInitiator(kp id.KeyPair, remote id.PublicKey, rand io.Reader) *Handshake {
	return start(kp, remote[:], rand)
}

// NewResponder starts the side that accepts any initiator that knows its public key. rand is read once, for the
// ephemeral key pair.
func NewResponder(kp id.KeyPair, rand io.Reader) *Handshake {
	return start(kp, nil, rand)
}

// start makes either side; only the initiator has a remote key.
func start(kp id.KeyPair, remote []byte, rand io.Reader) *Handshake {
	h := &Handshake{curve: &curve{}, initiator: remote != nil}
	hs, err := noise.NewHandshakeState(noise.Config{
		CipherSuite:   noise.NewCipherSuite(h.curve, noise.CipherChaChaPoly, noise.HashBLAKE2b),
		Random:        rand,
		Pattern:       noise.HandshakeIK,
		Initiator:     h.initiator,
		Prologue:      id.NSPeerHandshake[:],
		StaticKeypair: noise.DHKey{Private: scalarOf(kp.Secret[:keyLen]), Public: append([]byte(nil), kp.Public[:]...)},
		PeerStatic:    remote,
	})
	if err != nil {
		panic(err) // only a bad preshared key makes it fail, and there is none
	}
	h.hs = hs
	return h
}

// WriteMessage makes this side's only message: the initiator's first, or the responder's answer. The result is
// the caller's. It fails with ErrOutOfTurn, ErrTooLong, ErrInvalidKey (the key to connect to), or when rand does.
func (h *Handshake) WriteMessage(payload []byte) ([]byte, error) {
	due, overhead := stateFresh, Overhead1
	if !h.initiator {
		due, overhead = stateHalf, Overhead2
	}
	if h.state != due {
		return nil, ErrOutOfTurn
	}
	if len(payload) > MaxMessage-overhead {
		return nil, ErrTooLong
	}
	msg, first, second, err := h.hs.WriteMessage(make([]byte, 0, overhead+len(payload)), payload)
	if err != nil {
		return nil, err
	}
	if !h.initiator {
		h.finish(second, first)
	}
	h.become(h.state + 1)
	return msg, nil
}

// ReadMessage handles the other side's only message and returns its payload, which is the caller's. msg is
// not changed. When it fails, an initiator keeps waiting for another reply; a responder is spent.
func (h *Handshake) ReadMessage(msg []byte) ([]byte, error) {
	due, overhead := stateHalf, Overhead2
	if !h.initiator {
		due, overhead = stateFresh, Overhead1
	}
	if h.state != due {
		return nil, ErrOutOfTurn
	}
	payload, first, second, err := h.read(msg, overhead)
	if err != nil {
		if !h.initiator {
			h.become(stateSpent)
		}
		return nil, err
	}
	if h.initiator {
		h.finish(first, second)
	}
	h.become(h.state + 1)
	return payload, nil
}

// read rejects messages that would corrupt the state for a second attempt: flynn/noise adds the ephemeral key
// to its hash before it detects that the key is invalid, and does not remove it. After a bad tag it
// restores the state.
func (h *Handshake) read(msg []byte, overhead int) ([]byte, *noise.CipherState, *noise.CipherState, error) {
	if len(msg) > MaxMessage {
		return nil, nil, nil, ErrTooLong
	}
	if len(msg) < overhead {
		return nil, nil, nil, ErrShort
	}
	if _, err := h.curve.check(msg[:keyLen]); err != nil {
		return nil, nil, nil, err
	}
	return h.hs.ReadMessage(make([]byte, 0, len(msg)-overhead), msg)
}

// finish takes the result out of a handshake whose second message is through.
func (h *Handshake) finish(tx, rx *noise.CipherState) {
	r := &h.result
	copy(r.Hash[:], h.hs.ChannelBinding())
	r.Tx, r.Rx = tx.UnsafeKey(), rx.UnsafeKey()
	r.HolepunchSecret = id.KeyedHash(r.Hash[:], id.NSPeerHolepunch[:])
	r.RemotePublicKey = id.PublicKey(h.hs.PeerStatic())
}

// RemoteStatic is the other side's static key: given to the initiator, learned by the responder from a good
// first message and zero before it. It is authenticated once the first message was read.
func (h *Handshake) RemoteStatic() id.PublicKey {
	if !h.initiator && h.state != stateHalf && h.state != stateDone {
		return id.PublicKey{}
	}
	return id.PublicKey(h.hs.PeerStatic())
}

// Result returns what was agreed on, once this side's second message is through.
func (h *Handshake) Result() (Result, bool) {
	return h.result, h.state == stateDone
}
