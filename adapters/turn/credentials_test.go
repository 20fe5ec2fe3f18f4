package turn

import (
	"encoding/hex"
	"testing"

	"github.com/pion/stun/v2"
)

// The sample request of RFC 8489, appendix B.1, as its erratum 6268 has it.
func TestSignatureIsThatOfTheSample(t *testing.T) {
	const nonce = "obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA"
	id, _ := hex.DecodeString("78ad3433c6ad72c029da412e")
	userhash, _ := hex.DecodeString("4a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704")
	const want = "b5c7bf005b6c52a21c51c5e892f81924136296cb927c43149309278cc6518e65"
	m := stun.MustBuild(stun.BindingRequest, stun.NewTransactionIDSetter([12]byte(id)), stun.RawAttribute{Type: 0x001e, Value: userhash},
		stun.NewNonce(nonce), stun.NewRealm("example.org"), stun.RawAttribute{Type: attrPasswordAlgorithm, Value: []byte{0, 2, 0, 0}})
	var c credentials
	answer := &message{realm: []byte("example.org"), nonce: []byte("obMatJos2AAAB"), algorithms: []byte{0, 1, 0, 0, 0, 2, 0, 0}}
	c.challenged(answer, "マトリックス", "TheMatrIX")
	if got := hex.EncodeToString(c.mac(m.Raw, len(m.Raw), 32)); !c.sha256 || got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestAlgorithmsNeedTheCookieOfTheNonce(t *testing.T) {
	both := []byte{0, 1, 0, 0, 0, 2, 0, 0}
	for _, test := range []struct {
		nonce      string
		algorithms []byte
		want       bool
	}{
		{"obMatJos2AAABrest", both, true},
		{"obMatJos2AAAB", []byte{0, 2, 0, 0}, true},
		{"obMatJos2AAAB", []byte{0, 9, 0, 3, 1, 2, 3, 0, 0, 2, 0, 0}, true},
		{"obMatJos2AAACrest", both, false}, // user names alone
		{"obMatJos2AAA", both, false},
		{"obMatJos2????", both, false},
		{"nonce", both, false},
		{"obMatJos2AAAB", nil, false},
		{"obMatJos2AAAB", []byte{0, 1, 0, 0}, false},
		{"obMatJos2AAAB", []byte{0, 1, 255, 255, 0, 2}, false},
	} {
		if got := offersSHA256([]byte(test.nonce), test.algorithms); got != test.want {
			t.Errorf("%s, %v: %t", test.nonce, test.algorithms, got)
		}
	}
}
