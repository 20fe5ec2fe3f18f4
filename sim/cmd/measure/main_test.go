package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
)

// TestMain lets the tests start this program again as the command itself.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-play" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestWorldIsPlayedInAProcessOfItsOwn(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w := world{Scenario: "lookups", Nodes: 30}
	o, err := w.measure(self)
	if err != nil {
		t.Fatal(err)
	}
	if o.Nodes != 30 || o.Datagrams == 0 || o.Hops == 0 || o.Virtual == 0 || !strings.HasSuffix(o.row("lookups"), "found") {
		t.Errorf("outcome %+v", o)
	}
	if o.processor <= 0 {
		t.Errorf("%v of the processor", o.processor)
	}
	again, err := w.measure(self)
	if err != nil || again.Hash != o.Hash {
		t.Errorf("hash %x, then %x (%v)", o.Hash, again.Hash, err)
	}
}

func TestTablesNameScenariosThatExist(t *testing.T) {
	for _, w := range [][]world{worlds, largeWorlds, others, largeOthers} {
		for _, w := range w {
			text, err := json.Marshal(w)
			if err != nil {
				t.Fatal(err)
			}
			var back world
			if err := json.Unmarshal(text, &back); err != nil || back != w {
				t.Errorf("%+v is read as %+v (%v)", w, back, err)
			}
			if !exists(w) {
				t.Errorf("there is no scenario %s", w.Scenario)
			}
		}
	}
	if err := play(`{"Scenario":"none"}`, new(bytes.Buffer)); err == nil {
		t.Error("a scenario that does not exist is played")
	}
}

func TestMedianIsTheRunInTheMiddle(t *testing.T) {
	var runs []outcome
	for _, d := range []time.Duration{5, 1, 9, 2, 3} {
		runs = append(runs, outcome{processor: d})
	}
	if got := median(runs).processor; got != 3 {
		t.Errorf("median %d, want 3", got)
	}
}

func TestWrongFlagsAreRejected(t *testing.T) {
	for _, args := range [][]string{{"-runs", "0"}, {"more"}, {"-play", "nonsense"}} {
		if err := run(args, new(bytes.Buffer)); err == nil {
			t.Errorf("%v is taken", args)
		}
	}
}
