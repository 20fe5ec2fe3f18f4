package turn

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v2"

	"github.com/dhtprom/dhtprom/internal/cost"
	"github.com/dhtprom/dhtprom/ports/pipe"
)

// seeds are messages of a server.
func seeds() (list [][]byte) {
	peer := netip.MustParseAddrPort("192.0.2.1:1234")
	id := stun.NewTransactionIDSetter(transactionID{1})
	list = append(list,
		stun.MustBuild(stun.NewType(stun.MethodAllocate, stun.ClassErrorResponse), id, stun.CodeUnauthorized, stun.NewRealm("r"), stun.NewNonce("n")).Raw,
		stun.MustBuild(stun.NewType(stun.MethodAllocate, stun.ClassSuccessResponse), id, stun.RawAttribute{Type: stun.AttrXORRelayedAddress, Value: xorAddr(peer).Value}, seconds(time.Hour)).Raw,
		stun.MustBuild(stun.NewType(stun.MethodData, stun.ClassIndication), id, xorAddr(peer), stun.RawAttribute{Type: stun.AttrData, Value: []byte("data")}).Raw,
		appendChannelData(nil, firstChannel, []byte("data")),
		appendSend(nil, transactionID{}, peer, []byte("data")),
	)
	for _, a := range []stun.AttrType{stun.AttrXORRelayedAddress, stun.AttrXORPeerAddress, stun.AttrErrorCode, stun.AttrLifetime, stun.AttrAlternateServer, stun.AttrNonce} {
		for n := range 9 {
			list = append(list, stun.MustBuild(stun.NewType(stun.MethodAllocate, stun.ClassErrorResponse), id, stun.RawAttribute{Type: a, Value: make([]byte, n)}).Raw)
		}
	}
	return list
}

// FuzzFrames separates a stream in pieces of any size, with the same result.
func FuzzFrames(f *testing.F) {
	f.Add(bytes.Join(seeds(), nil), 3)
	f.Add(appendChannelData(nil, firstChannel, make([]byte, 60000)), 1000)
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		split := func(size int) (all [][]byte, err error) {
			var fr frames
			bound := cost.Bound{StepsPerByte: 8, Steps: 200, BytesPerByte: 32, Bytes: 8 << 10}
			bound.Check(t, len(b), func() {
				fr, all, err = frames{}, nil, nil
				for rest := b; len(rest) > 0 && err == nil; {
					n := min(size, len(rest))
					err = fr.feed(rest[:n], func(frame []byte) { all = append(all, bytes.Clone(frame)) })
					rest = rest[n:]
				}
			})
			if len(fr.rest) > maxFrame {
				t.Errorf("%d bytes are kept", len(fr.rest))
			}
			return all, err
		}
		want, wantErr := split(max(1, len(b)))
		got, err := split(1 + (size&0x7fffffff)%2000)
		if len(got) != len(want) && err == nil && wantErr == nil {
			t.Fatalf("%d frames in pieces, %d at once", len(got), len(want))
		}
		for i := range min(len(got), len(want)) {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("frame %d differs", i)
			}
		}
	})
}

// serverPipe is a pipe to a server that a test plays.
type serverPipe struct {
	handlers pipe.Handlers
	written  []byte
	remote   netip.AddrPort
}

func (p *serverPipe) Handle(h pipe.Handlers)     { p.handlers = h }
func (p *serverPipe) Write(b []byte)             { p.written = append(p.written, b...) }
func (p *serverPipe) Buffered() int              { return 0 }
func (p *serverPipe) RemoteAddr() netip.AddrPort { return p.remote }
func (p *serverPipe) Close()                     { p.handlers = pipe.Handlers{} }

// Dial implements pipe.Dialer.
func (p *serverPipe) Dial(done func(pipe.Pipe, error)) func() {
	done(p, nil)
	return func() {}
}

// FuzzReceive has a server send anything, with the id of a pending request where there is room for it: before it has asked for credentials,
// after that, and while it relays.
func FuzzReceive(f *testing.F) {
	for _, s := range seeds() {
		for stage := range uint8(3) {
			f.Add(stage, s)
		}
	}
	f.Fuzz(func(t *testing.T, stage uint8, b []byte) {
		cost.Repeat(t, func() {
			r := newRig(t)
			switch stage % 3 {
			case 1:
				r.challenge()
			case 2:
				r.relay()
				r.base.Do(func() { r.sock.Send(netip.MustParseAddrPort("192.0.2.3:1"), 0, []byte("to another peer")) })
			}
			for _, s := range append(r.host.sessions, r.host.current) {
				if s == nil {
					continue
				}
				for id := range s.pending {
					if len(b) >= headerSize {
						copy(b[8:headerSize], id[:])
					}
				}
			}
			r.base.Do(func() {
				work := cost.Start(t, cost.Bound{StepsPerByte: 32, Steps: 4000, BytesPerByte: 64, Bytes: 64 << 10})
				defer work.Stop()
				work.Allow(len(b))
				if r.pipe.handlers.OnReceive != nil && len(b) > 0 {
					r.pipe.handlers.OnReceive(b)
				}
			})
			r.net.Run(time.Second)
			if r.host.faults.Wrong > 0 {
				t.Error(r.host.faults.Last)
			}
		})
	})
}
