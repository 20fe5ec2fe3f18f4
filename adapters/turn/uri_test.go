package turn

import (
	"testing"

	"github.com/dhtprom/dhtprom/internal/cost"
)

var uris = []struct{ text, want string }{
	{"turns:turn.example:443", "turns:turn.example:443"},
	{"turns:turn.example", "turns:turn.example:5349"},
	{"turns:turn.example?transport=tcp", "turns:turn.example:5349"},
	{"turn:192.0.2.1", "turn:192.0.2.1:3478?transport=udp"},
	{"turn:turn.example:80?transport=tcp", "turn:turn.example:80?transport=tcp"},
	{"turn:[2001:db8::1]:3478?transport=tcp", "turn:[2001:db8::1]:3478?transport=tcp"},
	{"turn:[2001:db8::1]", "turn:[2001:db8::1]:3478?transport=udp"},
	{"turns:[2001:db8::1]?transport=tcp", "turns:[2001:db8::1]:5349"},
	{"turn:[2001:db8::1]3478", ""},
	{"turns:turn.example:443?transport=udp", ""},
	{"stun:turn.example", ""},
	{"turn.example:443", ""},
	{"https://turn.example", ""},
	{"turn:", ""},
	{"turn:x:70000", ""},
	{"turn:x:0", ""},
	{"", ""},
}

func TestURIs(t *testing.T) {
	for _, test := range uris {
		u, err := ParseURI(test.text)
		if err != nil && test.want != "" || err == nil && u.String() != test.want {
			t.Errorf("%q: %v, %v, want %q", test.text, u, err, test.want)
		}
	}
}

func FuzzParseURI(f *testing.F) {
	for _, test := range uris {
		f.Add(test.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var u URI
		var err error
		cost.Parsing.Check(t, len(text), func() { u, err = ParseURI(text) })
		if err != nil {
			return
		}
		if again, err := ParseURI(u.String()); err != nil || again != u {
			t.Errorf("%q is %v, which is %v, %v", text, u, again, err)
		}
	})
}
