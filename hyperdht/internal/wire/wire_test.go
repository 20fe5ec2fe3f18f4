package wire_test

import (
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"testing"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/internal/cost"
	"github.com/dhtprom/dhtprom/spec/vectors"
)

// message is the common interface of the types of the package.
type message interface {
	Append(dst []byte) []byte
	Size() int
}

// match checks a message against the bytes of a vector in both directions.
func match[M message](t *testing.T, parse func([]byte) (M, error), m M, want vectors.Hex) {
	t.Helper()
	got := m.Append([]byte("before"))
	if !bytes.Equal(got[6:], want) || string(got[:6]) != "before" {
		t.Errorf("append %+v\n got %x\nwant %s", m, got[6:], want)
	}
	if m.Size() != len(want) {
		t.Errorf("size %d, want %d", m.Size(), len(want))
	}
	parsed, err := parse(want)
	if err != nil || !reflect.DeepEqual(parsed, m) {
		t.Errorf("parse %s\n got %+v, %v\nwant %+v", want, parsed, err, m)
	}
}

// prefixesFail checks that no proper prefix of b parses, those of the given lengths apart.
func prefixesFail[M message](t *testing.T, parse func([]byte) (M, error), b []byte, except ...int) {
	t.Helper()
next:
	for n := range b {
		for _, e := range except {
			if n == e {
				continue next
			}
		}
		if m, err := parse(b[:n:n]); err == nil {
			t.Errorf("%d of %d bytes of %x parse to %+v", n, len(b), b, m)
		}
	}
}

// trailingIgnored checks that bytes behind the message change nothing.
func trailingIgnored[M message](t *testing.T, parse func([]byte) (M, error), b []byte) {
	t.Helper()
	want, err := parse(b)
	if err != nil {
		t.Fatal(err)
	}
	got, err := parse(append(bytes.Clone(b), 0xff, 0xff))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("with trailing bytes %x parses to %+v, %v; want %+v", b, got, err, want)
	}
}

// fuzz checks that parsing never panics, and that what was parsed survives another round.
func fuzz[M message](f *testing.F, parse func([]byte) (M, error), seeds ...message) {
	for _, s := range seeds {
		f.Add(s.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var m M
		var err error
		cost.Parsing.Check(t, len(b), func() { m, err = parse(b) })
		if err != nil {
			return
		}
		once := m.Append(nil)
		if len(once) != m.Size() {
			t.Fatalf("%+v: size %d, appended %d", m, m.Size(), len(once))
		}
		again, err := parse(once)
		if err != nil || !bytes.Equal(again.Append(nil), once) {
			t.Fatalf("%+v became %+v, %v", m, again, err)
		}
	})
}

func array32(t *testing.T, h vectors.Hex) *[32]byte {
	if h == nil {
		return nil
	}
	k := h.Key(t)
	return &k
}

func array64(h vectors.Hex) *[64]byte {
	if h == nil {
		return nil
	}
	s := [64]byte(h)
	return &s
}

type requestVector struct {
	Name                    string
	To                      vectors.Addr
	TID                     uint16
	Token, Target           vectors.Hex
	Internal                bool
	Command                 uint64
	Value, Hex              vectors.Hex
	Sender                  struct{ Persistent bool }
	SentFromSocket          string
	DecodedWhenReceivedFrom struct {
		Host netip.Addr
		Port uint16
		ID   vectors.Hex
	}
}

type responseVector struct {
	Name    string
	Hex     vectors.Hex
	Decoded struct {
		TID         uint16
		To          vectors.Addr
		ID, Token   vectors.Hex
		CloserNodes []vectors.Addr
		Error       uint64
		Value       vectors.Hex
	}
}

type packets struct {
	Requests  []requestVector
	Responses []responseVector
	Ignored   []struct {
		Hex  vectors.Hex
		Note string
	}
	Tolerated []struct {
		Hex  vectors.Hex
		Note string
	}
	Relays []struct {
		Request, NewValue, Hex vectors.Hex
		SentTo                 vectors.Addr
		RelayPersistent        bool
	}
	OurTableIDWhenPersistent vectors.Hex
}

func TestRequestsMatchVectorsBothWays(t *testing.T) {
	f := vectors.Load[packets](t, "dht-rpc")
	for _, v := range f.Requests {
		t.Run(v.Name, func(t *testing.T) {
			m := wire.Request{
				TID: v.TID, To: v.To.AddrPort,
				Token: (*id.Token)(array32(t, v.Token)), Internal: v.Internal, Command: v.Command,
				Target: (*id.Target)(array32(t, v.Target)), Value: v.Value,
			}
			if v.Sender.Persistent && v.SentFromSocket == "server" {
				m.ID = (*id.NodeID)(array32(t, f.OurTableIDWhenPersistent))
			}
			match(t, wire.ParseRequest, m, v.Hex)
			from := v.DecodedWhenReceivedFrom
			believed := m.ID != nil && *m.ID == id.NodeIDOf(netip.AddrPortFrom(from.Host, from.Port))
			if believed != (from.ID != nil) {
				t.Errorf("id of %s:%d believed: %v", from.Host, from.Port, believed)
			}
			prefixesFail(t, wire.ParseRequest, v.Hex)
			trailingIgnored(t, wire.ParseRequest, v.Hex)
			if !wire.IsRequest(v.Hex) || wire.IsResponse(v.Hex) {
				t.Error("not recognised as a request")
			}
			if _, err := wire.ParseResponse(v.Hex); !errors.Is(err, wire.ErrPacketType) {
				t.Errorf("parsed as a response: %v", err)
			}
		})
	}
}

func TestResponsesMatchVectorsBothWays(t *testing.T) {
	for _, v := range vectors.Load[packets](t, "dht-rpc").Responses {
		t.Run(v.Name, func(t *testing.T) {
			d := v.Decoded
			m := wire.Response{
				TID: d.TID, To: d.To.AddrPort, ID: (*id.NodeID)(array32(t, d.ID)), Token: (*id.Token)(array32(t, d.Token)),
				Closer: vectors.AddrPorts(d.CloserNodes), Error: d.Error, Value: d.Value,
			}
			match(t, wire.ParseResponse, m, v.Hex)
			prefixesFail(t, wire.ParseResponse, v.Hex)
			trailingIgnored(t, wire.ParseResponse, v.Hex)
			if !wire.IsResponse(v.Hex) || wire.IsRequest(v.Hex) {
				t.Error("not recognised as a response")
			}
			if _, err := wire.ParseRequest(v.Hex); !errors.Is(err, wire.ErrPacketType) {
				t.Errorf("parsed as a request: %v", err)
			}
		})
	}
}

func TestForwardedRequestsMatchVectors(t *testing.T) {
	f := vectors.Load[packets](t, "dht-rpc")
	for _, v := range f.Relays {
		m, err := wire.ParseRequest(v.Request)
		if err != nil {
			t.Fatal(err)
		}
		m.To, m.Value, m.Token, m.ID = v.SentTo.AddrPort, v.NewValue, nil, nil
		if v.RelayPersistent {
			m.ID = (*id.NodeID)(array32(t, f.OurTableIDWhenPersistent))
		}
		if got := m.Append(nil); !bytes.Equal(got, v.Hex) {
			t.Errorf("got %x, want %s", got, v.Hex)
		}
	}
}

func TestMalformedPacketsAreRefused(t *testing.T) {
	for _, v := range vectors.Load[packets](t, "dht-rpc").Ignored {
		if v.Note == "source port 0" { // refused before it is parsed
			continue
		}
		t.Run(v.Note, func(t *testing.T) {
			if m, err := wire.ParseRequest(v.Hex); err == nil {
				t.Errorf("request %+v", m)
			}
			if m, err := wire.ParseResponse(v.Hex); err == nil {
				t.Errorf("response %+v", m)
			}
		})
	}
}

func TestOddPacketsAreTolerated(t *testing.T) {
	for _, v := range vectors.Load[packets](t, "dht-rpc").Tolerated {
		t.Run(v.Note, func(t *testing.T) {
			m, err := wire.ParseRequest(v.Hex)
			if err != nil || m.TID != 4660 || !m.Internal || m.Command != wire.CmdPing || m.Value != nil {
				t.Errorf("got %+v, %v", m, err)
			}
		})
	}
}

func TestValuesOfInternalCommandsMatchVectorsBothWays(t *testing.T) {
	seen := map[uint64]bool{}
	for _, v := range vectors.Load[packets](t, "dht-rpc").Requests {
		if !v.Internal || v.Value == nil {
			continue
		}
		seen[v.Command] = true
		t.Run(v.Name, func(t *testing.T) {
			switch v.Command {
			case wire.CmdPingNAT:
				again(t, wire.ParsePingNAT, v.Value)
			case wire.CmdDownHint:
				again(t, wire.ParseDownHint, v.Value)
			case wire.CmdDelayedPing:
				again(t, wire.ParseDelayedPing, v.Value)
			}
		})
	}
	if !seen[wire.CmdPingNAT] || !seen[wire.CmdDownHint] || !seen[wire.CmdDelayedPing] {
		t.Errorf("vectors lack a command: %v", seen)
	}
}

// again checks that a message parses, appends to the same bytes, and that no prefix of it parses.
func again[M message](t *testing.T, parse func([]byte) (M, error), b vectors.Hex) {
	t.Helper()
	m, err := parse(b)
	if err != nil {
		t.Fatal(err)
	}
	match(t, parse, m, b)
	prefixesFail(t, parse, b)
}

func TestParsedValuesBorrowTheInput(t *testing.T) {
	b := wire.Request{Value: []byte("value")}.Append(nil)
	m, err := wire.ParseRequest(b)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] = 'E'
	if string(m.Value) != "valuE" || cap(m.Value) != len(m.Value) {
		t.Errorf("got %q with room for %d", m.Value, cap(m.Value))
	}
}
