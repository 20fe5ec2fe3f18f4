package records_test

import (
	"bytes"
	"cmp"
	"slices"
	"testing"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/records"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/spec/vectors"
)

type script struct {
	NodeID vectors.Hex
	Script []struct {
		Name                 string
		Command              uint64
		Target, Token, Value vectors.Hex
		From                 vectors.Addr
		Answer               struct {
			Kind                       string
			Error                      uint64
			Value                      vectors.Hex
			WithToken, WithCloserNodes bool
		}
	}
}

// The steps build on each other, so they are not subtests.
func TestStorageScriptIsAnsweredAsTheOriginalAnswers(t *testing.T) {
	f := vectors.Load[script](t, "storage")
	if len(f.Script) != 42 {
		t.Errorf("%d steps, want 42", len(f.Script))
	}
	w := newWorld(t, records.Config{})
	w.turn.Self = f.NodeID.Key(t)
	for i, v := range f.Script {
		r := records.Request{Command: v.Command, From: v.From.AddrPort, Value: v.Value}
		if v.Target != nil {
			target := id.Target(v.Target.Key(t))
			r.Target = &target
		}
		if v.Token != nil {
			token := id.Token(v.Token.Key(t))
			r.Token = &token
		}
		got := w.store.Handle(w.turn, r)
		if v.Answer.Kind == "none" {
			if !got.Drop {
				t.Errorf("step %d, %s: answered %+v", i, v.Name, got)
			}
			continue
		}
		want := records.Answer{
			Error: v.Answer.Error, Value: v.Answer.Value,
			NoToken: !v.Answer.WithToken, NoCloser: !v.Answer.WithCloserNodes,
		}
		if got.Drop != want.Drop || got.Error != want.Error || got.NoToken != want.NoToken || got.NoCloser != want.NoCloser {
			t.Errorf("step %d, %s: answered %+v, want %+v", i, v.Name, got, want)
		}
		if (got.Value == nil) != (want.Value == nil) || !bytes.Equal(inOrder(t, v.Command, got.Value), inOrder(t, v.Command, want.Value)) {
			t.Errorf("step %d, %s: value %x, want %x", i, v.Name, got.Value, want.Value)
		}
		w.store.CheckInvariants(t, records.Config{})
	}
}

// inOrder sorts the records of a lookup reply, which come in random order.
func inOrder(t *testing.T, command uint64, value []byte) []byte {
	if command != wire.CmdLookup || value == nil {
		return value
	}
	m, err := wire.ParseLookupReply(value)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(m.Peers, func(a, b wire.Peer) int { return cmp.Compare(a.PublicKey.Hex(), b.PublicKey.Hex()) })
	return m.Append(nil)
}
