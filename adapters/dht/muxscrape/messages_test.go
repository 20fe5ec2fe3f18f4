package muxscrape

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht/compact"
	"github.com/dhtprom/dhtprom/hyperdht/mux"
	"github.com/dhtprom/dhtprom/hyperdht/mux/muxtest"
	"github.com/dhtprom/dhtprom/internal/cost"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/spec/vectors"
)

// The messages byte for byte, as spec/dhtprom.md describes them.
func TestMessagesAreThoseOfTheSpec(t *testing.T) {
	req := request{id: 1, credit: 65536, ScrapeRequest: domain.ScrapeRequest{
		Target: "web", Query: "a=b", Within: 9500*time.Millisecond + 1, Header: []domain.HeaderField{{Name: "Accept", Value: "*/*"}}, Compress: true,
	}}
	res := response{2, domain.ScrapeHead{Status: 200, ContentType: "text/plain", Coding: "gzip", Length: 300}}
	unknown := response{2, domain.ScrapeHead{Status: 404, Length: -1}}
	over := end{3, byExporter, "EOF"}
	win := window{4, 32768}
	for _, test := range []struct {
		name  string // of the example
		got   []byte
		again func(b []byte) (any, error)
		value any
	}{
		{"request", req.append(nil), func(b []byte) (any, error) { return parseRequest(b) }, request{1, 65536, domain.ScrapeRequest{Target: "web", Query: "a=b", Within: 9500 * time.Millisecond, Header: req.Header, Compress: true}}},
		{"response", res.append(nil), func(b []byte) (any, error) { return parseResponse(b) }, res},
		{"response of unknown length", unknown.append(nil), func(b []byte) (any, error) { return parseResponse(b) }, unknown},
		{"data", append(appendDataHead(nil, 5), []byte("abc")...), func(b []byte) (any, error) {
			id, piece, err := parseData(b)
			return fmt.Sprintf("%d %s", id, piece), err
		}, "5 abc"},
		{"end", over.append(nil), func(b []byte) (any, error) { return parseEnd(b) }, over},
		{"window", win.append(nil), func(b []byte) (any, error) { return parseWindow(b) }, win},
		{"cancel", compact.AppendUint(nil, 6), func(b []byte) (any, error) { return parseCancel(b) }, uint64(6)},
	} {
		t.Run(test.name, func(t *testing.T) {
			if want := vectors.ExampleBytes(t, "dhtprom", test.name); !bytes.Equal(test.got, want) {
				t.Fatalf("got %x, want %s", test.got, want)
			}
			for _, tail := range []string{"", "later"} {
				if test.name == "data" && tail != "" {
					continue
				}
				if v, err := test.again(append(bytes.Clone(test.got), tail...)); err != nil || fmt.Sprintf("%+v", v) != fmt.Sprintf("%+v", test.value) {
					t.Errorf("read again as %+v, %v", v, err)
				}
			}
			for n := range test.got {
				if test.name == "data" && n > 0 {
					continue
				}
				if v, err := test.again(test.got[:n]); err == nil {
					t.Errorf("the first %d bytes are read as %+v", n, v)
				}
			}
		})
	}
}

// An end of a kind that a later version may have is one by the client.
func TestUnknownCodesAreByTheClient(t *testing.T) {
	m := end{1, 200, "later"}
	if got, err := parseEnd(m.append(nil)); err != nil || got.code != byClient || got.reason != "later" {
		t.Errorf("got %+v, %v", got, err)
	}
}

// FuzzMessages has both sides take messages of any type: the type of each, its length and its bytes.
func FuzzMessages(f *testing.F) {
	req, res, over, win := request{id: 2, credit: 1 << 20}, response{1, domain.ScrapeHead{Status: 200, Length: 9}}, end{id: 1}, window{1, 99}
	var script []byte
	for typ, b := range [][]byte{
		typeRequest: req.append(nil), typeWindow: win.append(nil), typeCancel: {2}, typeResponse: res.append(nil), typeData: append(appendDataHead(nil, 1), page(9)...), typeEnd: over.append(nil),
	} {
		script = append(append(script, byte(typ), byte(len(b))), b...)
	}
	f.Add(script)
	f.Fuzz(func(t *testing.T, script []byte) {
		wire := muxtest.NewWire()
		q, err := NewRequester(mux.New(wire.A), RequesterOptions{Windows: &Windows{}})
		if err != nil {
			t.Fatal(err)
		}
		p, err := NewResponder(mux.New(wire.B), ResponderOptions{OnRequest: func(_ domain.ScrapeRequest, r *Response) func() {
			r.Head(domain.ScrapeHead{Status: 200, Length: -1})
			r.Write([]byte("body"))
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		received := 0
		var s *Scrape
		if s, err = q.Scrape(domain.ScrapeRequest{}, ports.ScrapeHandlers{OnHead: func(domain.ScrapeHead) {}, OnEnd: func(error) {}, OnData: func(b []byte) {
			received += len(b)
			s.Consumed(len(b))
		}}); err != nil {
			t.Fatal(err)
		}
		wire.Run()
		handlers := []func([]byte){p.onRequest, p.onWindow, p.onCancel, q.onResponse, q.onData, q.onEnd}
		cost.Bound{StepsPerByte: 64, Steps: 400, BytesPerByte: 4096, Bytes: 64 << 10}.Check(t, len(script), func() {
			for b := script; len(b) >= 2 && !p.mux.Closed() && !q.mux.Closed(); {
				typ, n := b[0], min(int(b[1]), len(b)-2)
				handlers[int(typ)%len(handlers)](b[2 : 2+n])
				b = b[2+n:]
			}
		})
		wire.Run()
		if p.Running() > MaxRunning || s.credit < 0 || q.windows.granted > MaxWindows {
			t.Errorf("%d responses, credit %d, granted %d", p.Running(), s.credit, q.windows.granted)
		}
	})
}
