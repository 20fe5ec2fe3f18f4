package etcd

import (
	"testing"

	"github.com/dhtprom/dhtprom/internal/cost"
	"github.com/dhtprom/dhtprom/ports/kv"
)

// parsingOps bounds the cost of a chunk: an operation of 8 bytes becomes one of 80, in a list that grows in steps.
var parsingOps = cost.Bound{StepsPerByte: 8, Steps: 200, BytesPerByte: 96, Bytes: 4096}

func FuzzParseOps(f *testing.F) {
	f.Add(appendOp(appendOp(nil, "aliases/a", kv.Op{Value: []byte("{}")}), "pins/b", kv.Op{Delete: true}))
	f.Add([]byte{1, 6, 'p', 'i', 'n', 's', '/', 'x', 200, 1})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var ops []kv.Op
		var err error
		parsingOps.Check(t, len(b), func() { ops, err = parseOps(b) })
		if err != nil {
			return
		}
		var again []byte
		for _, op := range ops {
			again = appendOp(again, op.Key, op)
		}
		same, err := parseOps(again)
		if err != nil || len(same) != len(ops) {
			t.Errorf("%d operations are %d when they are written again: %v", len(ops), len(same), err)
		}
	})
}
