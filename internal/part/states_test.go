package part

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/states"
	"github.com/dhtprom/dhtprom/internal/states/statestest"
)

type partState uint8

const (
	partMade partState = iota
	partRunning
	partClosed
)

var partTable = &states.Table[partState]{Name: "part", States: []states.Rule[partState]{
	partMade:    {Name: "made", Why: "until it is started, or closed by itself or with its node", Next: []partState{partRunning, partClosed}},
	partRunning: {Name: "running", Why: "until it is closed, its context ends, or its node closes", Next: []partState{partClosed}},
	partClosed:  {Name: "closed"},
}}

func (p *Part) state() partState {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.done:
		return partClosed
	default:
	}
	if p.cancel != nil {
		return partRunning
	}
	return partMade
}

func TestDocListsTheTable(t *testing.T) { statestest.Doc(t, "part.go", statestest.Of(partTable)) }

func TestPartsKeepToTheTable(t *testing.T) {
	machines := statestest.NewMachines(statestest.NewWatch(t, partTable), (*Part).state)
	u := udp.New(udp.Options{})
	defer u.Close()
	h := NewHost(u, time.Minute)
	add := func() (p *Part, ends *int) {
		ends = new(int)
		p, err := New(h, "the part", func(done func()) { done() }, func() { *ends++ })
		if err != nil {
			t.Fatal(err)
		}
		machines.Add(p)
		return p, ends
	}
	start := func(ctx context.Context, p *Part) error {
		defer machines.Look()
		return p.Start(ctx, func(done func(error)) { done(nil) })
	}
	ended := errors.New("does not start")
	for name, end := range map[string]func(p *Part){
		"closed before its start": func(p *Part) {
			_ = p.Close()
			if err := start(t.Context(), p); !errors.Is(err, domain.ErrClosed) {
				t.Errorf("started after Close: %v", err)
			}
		},
		"closed": func(p *Part) {
			if err := start(t.Context(), p); err != nil {
				t.Error(err)
			}
			_ = p.Close()
		},
		"end of its context": func(p *Part) {
			ctx, cancel := context.WithCancel(t.Context())
			if err := start(ctx, p); err != nil {
				t.Error(err)
			}
			cancel()
		},
		"failed start": func(p *Part) {
			if err := p.Start(t.Context(), func(done func(error)) { done(ended) }); !errors.Is(err, ended) {
				t.Error(err)
			}
		},
		"start that its context interrupts": func(p *Part) {
			ctx, cancel := context.WithCancel(t.Context())
			if err := p.Start(ctx, func(func(error)) { cancel() }); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		},
	} {
		p, ends := add()
		end(p)
		<-p.Done()
		machines.Look()
		if p.state() != partClosed || *ends != 1 {
			t.Errorf("%s: state %v, closed %d times", name, p.state(), *ends)
		}
	}
	if len(h.parts) != 0 {
		t.Errorf("%d closed parts are kept", len(h.parts))
	}
	made, _ := add()
	running, _ := add()
	if err := start(t.Context(), running); err != nil {
		t.Fatal(err)
	}
	if first, err := h.Close(t.Context()); err != nil || !first {
		t.Fatalf("first %v, %v", first, err)
	}
	machines.Look()
	if made.state() != partClosed || running.state() != partClosed {
		t.Error("parts outlive their node")
	}
	if _, err := New(h, "a late part", nil, nil); !errors.Is(err, domain.ErrClosed) {
		t.Errorf("on a closed node: %v", err)
	}
}
