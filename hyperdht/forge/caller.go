package forge

import (
	"errors"
	"io"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/noise"
	"github.com/dhtprom/dhtprom/hyperdht/internal/secret"
	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

// maxPayload is the payload of one packet at the smallest MTU.
const maxPayload = 1200 - 28 - udx.HeaderSize

// Caller is the attacker's end of a connection: it completes the handshake, and then sends given bytes on the stream below the
// encryption, without acknowledgements or retransmissions.
type Caller struct {
	handshake Handshake
	noise     *noise.Handshake
	random    io.Reader
	remote    uint32 // the server's stream
	secret    *secret.Stream
	next      udx.Seq
}

// NewCaller returns a caller under a fresh key.
func NewCaller(server id.PublicKey, random io.Reader) (*Caller, error) {
	keys, err := id.NewKeyPair(random)
	if err != nil {
		return nil, err
	}
	c := &Caller{noise: noise.NewInitiator(keys, server, random), random: random}
	payload := wire.NoisePayload{Version: 1, UDX: &wire.UDXInfo{ID: 1}, SecretStream: &wire.SecretStreamInfo{}}
	message, err := c.noise.WriteMessage(payload.Append(nil))
	c.handshake = Handshake{Server: server, Message: message}
	return c, err
}

// Handshake returns the first datagram of the caller.
func (c *Caller) Handshake() Handshake { return c.handshake }

// Answer takes the server's answer to the handshake. Other datagrams fail and change nothing.
func (c *Caller) Answer(datagram []byte) error {
	r, err := wire.ParseResponse(datagram)
	if err != nil {
		return err
	}
	m, err := wire.ParseHandshake(r.Value)
	if err != nil {
		return err
	}
	plain, err := c.noise.ReadMessage(m.Noise)
	if err != nil {
		return err
	}
	payload, err := wire.ParseNoisePayload(plain)
	if err != nil {
		return err
	}
	if payload.UDX == nil {
		return errors.New("forge: the server has no stream for us")
	}
	keys, _ := c.noise.Result()
	c.remote = payload.UDX.ID
	c.secret = secret.New(secret.Initiator, keys, c.random)
	return nil
}

// Open is the first message, after which the server takes the connection for open.
func (c *Caller) Open() []byte { return c.secret.AppendHeader(nil) }

// Packets are the next bytes of the stream as datagrams.
func (c *Caller) Packets(b []byte) (all [][]byte) {
	for len(b) > 0 {
		n := min(len(b), maxPayload)
		h := udx.Header{Flags: udx.FlagData, StreamID: c.remote, Window: udx.DefaultWindow, Seq: c.next}
		all = append(all, append(h.Append(nil), b[:n]...))
		c.next++
		b = b[n:]
	}
	return all
}
