package stream

import (
	"errors"
	"net/netip"
	"testing"
	"time"
)

// flush begins a flush, whose result is in the returned list.
func (p *peer) flush() (results *[]error, cancel func()) {
	results = new([]error)
	return results, p.Flush(func(err error) { *results = append(*results, err) })
}

func TestFlushEndsWithTheAcknowledgement(t *testing.T) {
	d := newDuo(t)
	var idle, first, second *[]error
	d.a.turn(func() {
		idle, _ = d.pa.flush()
		d.pa.Write(bulk(10_000))
		first, _ = d.pa.flush()
		d.pa.Write(bulk(300_000))
		second, _ = d.pa.flush()
		_, cancel := d.pa.flush()
		if cancel(); len(d.a.table.flushes[d.pa.Stream]) != 3 {
			t.Errorf("%d flushes wait", len(d.a.table.flushes[d.pa.Stream]))
		}
		cancel()
	})
	if len(*idle) != 1 || len(*first)+len(*second) != 0 {
		t.Errorf("at first: %v, %v, %v", *idle, *first, *second)
	}
	for len(*second) == 0 {
		got := d.pb.got.Len()
		if d.run(time.Millisecond); got < 10_000 && len(*first) > 0 || got < 310_000 && len(*second) > 0 {
			t.Fatalf("after %d bytes: %v, %v", got, *first, *second)
		}
	}
	if n := len(d.a.table.flushes); n != 0 {
		t.Errorf("flushes of %d streams are left", n)
	}
	for _, results := range []*[]error{idle, first, second} {
		if len(*results) != 1 || (*results)[0] != nil {
			t.Errorf("%v", *results)
		}
	}
}

// The peer has ended, has all data, and is gone with its last acknowledgement: only that of the bare END is missing.
func TestFlushBeforeALostLastAck(t *testing.T) {
	d := newDuo(t)
	d.b.turn(func() { d.pb.End() })
	d.run(time.Second)
	d.filter = func(from, _ netip.AddrPort, _ []byte) bool { return from == d.sa.local }
	var results *[]error
	d.a.turn(func() {
		d.pa.End()
		results, _ = d.pa.flush()
	})
	d.run(20 * time.Second)
	if d.pa.err != nil || len(*results) != 1 || (*results)[0] != nil {
		t.Errorf("closed with %v, flushes %v", d.pa.err, *results)
	}
}

func TestFlushFailsWithTheStream(t *testing.T) {
	mine := errors.New("mine")
	for _, tc := range []struct {
		end  func(*duo)
		want error
	}{
		{func(d *duo) { d.pa.Destroy(mine) }, mine},
		{func(d *duo) { d.pa.Destroy(nil) }, ErrClosed},
	} {
		d := newDuo(t)
		d.run(time.Second)
		var before, after *[]error
		d.a.turn(func() {
			d.pa.Write(bulk(100))
			before, _ = d.pa.flush()
			tc.end(d)
		})
		d.a.turn(func() { after, _ = d.pa.flush() })
		d.run(time.Second)
		if len(*before) != 1 || (*before)[0] != tc.want || len(*after) != 1 || (*after)[0] != tc.want {
			t.Errorf("before %v, after %v, want %v", *before, *after, tc.want)
		}
		d.quiet(d.a, d.b)
	}
}
