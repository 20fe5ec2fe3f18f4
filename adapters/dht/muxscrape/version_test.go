package muxscrape

import (
	"bytes"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/hyperdht/mux"
	"github.com/dhtprom/dhtprom/hyperdht/mux/muxtest"
	"github.com/dhtprom/dhtprom/spec/vectors"
)

// handshaken returns the version that a requester has of a responder with a handshake.
func handshaken(t *testing.T, handshake []byte) string {
	w := muxtest.NewWire()
	q, err := NewRequester(mux.New(w.A), RequesterOptions{Windows: &Windows{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mux.New(w.B).Open(mux.ChannelOptions{Protocol: Protocol, Handshake: handshake}); err != nil {
		t.Fatal(err)
	}
	if q.Version() != "" {
		t.Errorf("version %q before the channel is open", q.Version())
	}
	w.Run()
	if !q.Opened() {
		t.Fatalf("%x closes the channel", handshake)
	}
	return q.Version()
}

// The handshake byte for byte, as spec/dhtprom.md describes it.
func TestHandshakeHasTheVersion(t *testing.T) {
	got := appendHandshake(nil, "1.2.3")
	if want := vectors.ExampleBytes(t, "dhtprom", "handshake of version 1.2.3"); !bytes.Equal(got, want) {
		t.Errorf("got %x, want %s", got, want)
	}
	if v := handshaken(t, append(got, "later"...)); v != "1.2.3" {
		t.Errorf("version %q, with fields of later versions", v)
	}
	if b := appendHandshake(nil, ""); len(b) != 0 {
		t.Errorf("no version: %x", b)
	}
	long := strings.Repeat("x", maxVersion)
	if v := handshaken(t, appendHandshake(nil, long+"yz")); v != long {
		t.Errorf("a long version: %q", v)
	}
	if b := appendHandshake(nil, "1\n2"); len(b) != 0 {
		t.Errorf("a version of two lines: %x", b)
	}
}

func TestVersionsThatCannotBeShownAreDropped(t *testing.T) {
	for name, handshake := range map[string]string{
		"none": "", "cut off": "\x05v1", "too long": "\x21" + strings.Repeat("v", 33), "length of 4 GB": "\xfe\xff\xff\xff\xff",
		"control": "\x02v\n", "delete": "\x02v\x7f", "not ASCII": "\x03v\xc3\xa4", "not UTF-8": "\x02v\xff", "empty": "\x00",
	} {
		if v := handshaken(t, []byte(handshake)); v != "" {
			t.Errorf("%s: version %q", name, v)
		}
	}
}

// Requesters of earlier versions ignore the handshake.
func TestResponderSendsItsVersion(t *testing.T) {
	w := muxtest.NewWire()
	var got []byte
	if _, err := mux.New(w.A).Open(mux.ChannelOptions{Protocol: Protocol, OnOpen: func(h []byte) { got = append(got, h...) }}); err != nil {
		t.Fatal(err)
	}
	if _, err := NewResponder(mux.New(w.B), ResponderOptions{Version: "v2"}); err != nil {
		t.Fatal(err)
	}
	if w.Run(); string(got) != "\x02v2" {
		t.Errorf("handshake %x", got)
	}
}
