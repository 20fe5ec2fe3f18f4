package records_test

import (
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/records"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/internal/cost"
)

// FuzzHandle throws single requests at a store that holds a little of everything.
func FuzzHandle(f *testing.F) {
	kp := keys(1)
	w := newWorld(f, records.Config{})
	f.Add(wire.CmdAnnounce, byte(3), topic[:], w.announceValue(topic, kp, wire.Announce{Refresh: &[32]byte{1}, Bump: 7}))
	f.Add(wire.CmdAnnounce, byte(3), topic[:], wire.Announce{Refresh: &[32]byte{2}}.Append(nil))
	f.Add(wire.CmdMutablePut, byte(3), make([]byte, 32), put(kp, 2, "value"))
	f.Add(wire.CmdMutableGet, byte(1), make([]byte, 32), []byte{0xff, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add(wire.CmdLookup, byte(1), topic[:], []byte(nil))
	f.Fuzz(func(t *testing.T, command uint64, present byte, target, value []byte) {
		cost.Repeat(t, func() {
			w := newWorld(t, records.Config{MaxEntries: 4})
			w.announce(topic, kp, wire.Announce{Bump: 1})
			w.announce(kp.Public.Target(), kp, wire.Announce{})
			w.must(w.handle(wire.CmdMutablePut, kp.Public.Target(), put(kp, 1, "value")))

			r := records.Request{Command: command, From: far, Value: value}
			if present&1 != 0 {
				r.Target = new(id.Target)
				copy(r.Target[:], target)
			}
			if present&2 != 0 {
				r.Token = &token
			}
			var a records.Answer
			meter := cost.Start(t, cost.Bound{StepsPerByte: 4, Steps: 2000, BytesPerByte: 8, Bytes: 64 << 10})
			defer meter.Stop()
			meter.Allow(len(target) + len(value))
			a = w.store.Handle(w.turn, r)
			if a.Drop && (a.Value != nil || a.Error != 0) || a.Error != 0 && a.Value != nil {
				t.Fatalf("answer contradicts itself: %+v", a)
			}
			w.store.CheckInvariants(t, records.Config{MaxEntries: 4})
		})
	})
}

// FuzzHistory runs a program of valid operations by a few peers on a few targets, with time passing.
func FuzzHistory(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x03\x04\x05\x06\x07\x10\x21\x32\x43\x54\x65\x76\x87"))
	f.Add([]byte("announce, look up, wait, forget"))
	f.Fuzz(func(t *testing.T, program []byte) {
		cost.Repeat(t, func() {
			if len(program) > 200 {
				return // signatures take their time
			}
			cfg := records.Config{MaxEntries: 3, MaxAge: time.Minute, MaxValueBytes: 300}
			w := newWorld(t, cfg)
			// An operation signs, verifies, and goes once through what the store holds.
			meter := cost.Start(t, cost.Bound{StepsPerByte: 2000, Steps: 1000, BytesPerByte: 16 << 10, Bytes: 64 << 10})
			defer meter.Stop()
			for i, op := range program {
				meter.Allow(1)
				kp := keys(op >> 3 & 3)
				target := []id.Target{topic, {1}, kp.Public.Target(), keys(0).Public.Target()}[op>>5&3]
				switch op & 7 {
				case 0:
					w.announce(target, kp, wire.Announce{Bump: uint64(i), Refresh: &[32]byte{op}})
				case 1:
					w.unannounce(target, kp)
				case 2:
					if got := len(w.lookup(target).Peers); got > 5 {
						t.Fatalf("%d records from four peers", got)
					}
				case 3:
					w.handle(wire.CmdMutablePut, kp.Public.Target(), put(kp, uint64(op>>5), "value"))
				case 4:
					if blob := w.putImmutable(program[:i]); !w.found(wire.CmdImmutableGet, blob, nil) {
						t.Fatal("a value is gone at once")
					}
				case 5:
					w.sleep(time.Duration(op) * time.Second / 4)
				case 6:
					w.store.SetLocal(target, wire.Peer{PublicKey: kp.Public}.Append(nil))
				case 7:
					w.store.DeleteLocal(target)
				}
				w.store.CheckInvariants(t, cfg)
			}
		})
	})
}
