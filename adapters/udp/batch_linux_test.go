package udp

import "testing"

func TestInboxGrowsToItsLargestBatchAndNoFurther(t *testing.T) {
	var in inbox
	in.resize(readBatchFirst)
	in.grow(readBatchFirst - 1)
	if len(in.msgs) != readBatchFirst {
		t.Errorf("grows to %d after a batch that was not full", len(in.msgs))
	}
	for range 10 {
		in.grow(len(in.msgs))
	}
	if len(in.msgs) != readBatch {
		t.Fatalf("grows to %d, want %d", len(in.msgs), readBatch)
	}
	before := &in.bufs[0]
	in.grow(readBatch)
	if &in.bufs[0] != before {
		t.Error("makes its buffers again, though they cannot grow")
	}
}
