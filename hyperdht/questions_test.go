package hyperdht

import (
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// asked returns questions that were sent at 0 s, 1 s and so on.
func asked(n int) *questions {
	q := new(questions)
	for i := range n {
		q.add(host.Instant(i) * host.Instant(time.Second))
	}
	return q
}

// An answer that names its question shows the round trip of that one, whatever other questions are open and what else arrives.
func TestNamedAnswers(t *testing.T) {
	q := asked(3)
	at := host.Instant(2500 * time.Millisecond)
	i := q.find(2)
	if i != 1 {
		t.Fatalf("question %d, want 1", i)
	}
	if rtt, certain := q.answer(i, at); rtt != 1500*time.Millisecond || !certain || q.pause != 3*time.Second {
		t.Errorf("round trip %v, certain %v, pause %v", rtt, certain, q.pause)
	}
	for _, number := range []uint32{0, 1, 2, 4} {
		if i := q.find(number); i != -1 {
			t.Errorf("%d answers question %d", number, i)
		}
	}
	i = q.find(3)
	if rtt, certain := q.answer(i, at); rtt != 500*time.Millisecond || !certain || len(q.open) != 0 {
		t.Errorf("round trip %v, certain %v, %d open", rtt, certain, len(q.open))
	}
}

// An answer that names nothing may be that of any open question, and nothing is known of the others then.
func TestUnnamedAnswers(t *testing.T) {
	for _, test := range []struct {
		questions int
		at        time.Duration
		rtt       time.Duration
		certain   bool
	}{
		{1, 200 * time.Millisecond, 200 * time.Millisecond, true},
		{2, 1200 * time.Millisecond, 1200 * time.Millisecond, false},
		{1, answerLimit - 1, answerLimit - 1, true},
		{1, answerLimit, 0, false},
	} {
		q := asked(test.questions)
		i := q.find(0)
		if rtt, certain := q.answer(i, host.Instant(test.at)); rtt != test.rtt || certain != test.certain || len(q.open) != 0 {
			t.Errorf("%d questions, %v: round trip %v, certain %v, %d open", test.questions, test.at, rtt, certain, len(q.open))
		}
		if i := q.find(0); i != -1 {
			t.Errorf("without an open question, %d is answered", i)
		}
	}
}

// On the way in use, the answer is the acknowledgement that names the question, or any of a peer that has named none so far.
func TestAnswersOnMain(t *testing.T) {
	q := asked(1)
	q.both = q.open[0]
	for i, step := range []struct {
		number uint32
		counts bool
	}{{0, true}, {0, true}, {2, false}, {0, true}, {1, true}, {0, false}, {2, false}, {1, true}} {
		now := host.Instant(i + 1)
		if q.answeredOnMain(step.number, now); (q.onMain == now) != step.counts {
			t.Errorf("step %d: %d counts %v, want %v", i, step.number, q.onMain == now, step.counts)
		}
	}
}
