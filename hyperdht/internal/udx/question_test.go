package udx

import (
	"slices"
	"testing"
)

// Heartbeats with a number are answered at once by an acknowledgement with that number, and others as the reference answers them.
func TestQuestionsAreNamedByTheirAnswers(t *testing.T) {
	w := pair(t, link{delay: ms}, 1)
	var got []uint32
	w.link.filter = func(from *end, p Packet) bool {
		if from == w.b {
			got = append(got, Question(p.Append(nil)))
		}
		return true
	}
	w.a.Ask(7)
	w.a.Ask(1<<32 - 1)
	w.a.sendHeartbeat()
	w.run(10 * ms)
	if want := []uint32{7, 1<<32 - 1, 0}; !slices.Equal(got, want) {
		t.Errorf("answers %d, want %d", got, want)
	}
}

// A number has four bytes behind the header of a packet that is nothing but a heartbeat or an acknowledgement.
func TestQuestion(t *testing.T) {
	number := []byte{1, 2, 3, 4}
	for _, test := range []struct {
		name string
		p    Packet
		want uint32
	}{
		{"heartbeat", Packet{Header: Header{Flags: FlagHeartbeat}, Payload: number}, 0x04030201},
		{"acknowledgement", Packet{Payload: number}, 0x04030201},
		{"no number", Packet{Header: Header{Flags: FlagHeartbeat}}, 0},
		{"short", Packet{Payload: number[:3]}, 0},
		{"long", Packet{Payload: append(number, 5)}, 0},
		{"data", Packet{Header: Header{Flags: FlagData}, Payload: number}, 0},
		{"message", Packet{Header: Header{Flags: FlagMessage}, Payload: number}, 0},
		{"padding", Packet{Header: Header{DataOffset: 4}}, 0},
		{"blocks", Packet{Header: Header{Flags: FlagSACK}, SACK: Blocks(number)}, 0},
	} {
		if got := Question(test.p.Append(nil)); got != test.want {
			t.Errorf("%s: %#x, want %#x", test.name, got, test.want)
		}
	}
}

// A question that comes before the stream is connected is answered then, without its number, and one from an address that is sent no
// more than an allowance only within that.
func TestQuestionsWithoutWayToAnswer(t *testing.T) {
	w := newWorld(t, link{delay: ms}, 1)
	question := Header{Flags: FlagHeartbeat}.Append(nil)
	question = appendQuestion(question, 9)
	w.a.Receive(w.now, question)
	w.flush()
	if w.sent != 0 {
		t.Fatalf("%d packets before the stream is connected", w.sent)
	}
	w.connect()
	w.flush()
	if w.sent != 1 {
		t.Errorf("%d answers, want 1", w.sent)
	}
	w.a.Limit(new(Allowance))
	w.a.Receive(w.now, question)
	w.a.Ask(3)
	w.flush()
	if w.sent != 1 {
		t.Errorf("%d packets beyond the allowance", w.sent-1)
	}
}
