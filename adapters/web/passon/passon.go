// Package passon defines the requests by which the members of a group pass scrapes on: their authentication and their responses, for the
// HTTP client and the HTTP server alike.
//
// A request is GET {URL of the member}/scrape/{alias}/metrics, with the header fields of its caller that the alias's target gets and
//
//	Authorization: Dhtprom-Group HEX
//
// where HEX is the HMAC-SHA256 of method, path and query, under a key that all members derive from the group's seed. The server sends 102
// Processing at once. The field Dhtprom-Outcome of its response separates those of exporters from failures of the scraper, and marks both
// as a member's: proxies and other servers do not set it.
package passon

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"

	"github.com/dhtprom/dhtprom/domain"
)

const (
	scheme        = "Dhtprom-Group"
	authorization = "Authorization"
	// forwarded has the caller's Authorization, for targets that ask for it.
	forwarded = "Dhtprom-Authorization"
	// purpose separates the key from others that are derived from the seed.
	purpose = "dhtprom: scrapes between the members of a group, version 1"
)

// Key authenticates the requests between members.
type Key struct{ secret []byte }

// NewKey derives the key of a group from its seed.
func NewKey(seed domain.Seed) *Key {
	plain := seed.Reveal()
	secret, err := hkdf.Key(sha256.New, plain[:], nil, purpose, sha256.Size)
	if err != nil {
		panic("hkdf: " + err.Error()) // the length is valid
	}
	return &Key{secret}
}

// String hides the key.
func (k *Key) String() string { return "key of a group" }

// GoString hides the key.
func (k *Key) GoString() string { return k.String() }

func (k *Key) sum(method, path, query string) []byte {
	h := hmac.New(sha256.New, k.secret)
	// Methods have no space and queries no line feed, so the text is unambiguous.
	h.Write([]byte(method + " " + path + "\n" + query)) // never fails
	return h.Sum(nil)
}

// Sign authenticates a request for a path, which is that below the prefix of the member's paths. The caller's Authorization, if the header
// has it, takes another field.
func (k *Key) Sign(r *http.Request, path string) {
	r.Header.Del(forwarded)
	if own := r.Header[authorization]; len(own) > 0 {
		r.Header[forwarded] = own
	}
	r.Header.Set(authorization, scheme+" "+hex.EncodeToString(k.sum(r.Method, path, r.URL.RawQuery)))
}

// Claims reports whether a request is authenticated as a member's, or pretends to be.
func Claims(r *http.Request) bool {
	for _, v := range r.Header[authorization] {
		if word, _, _ := strings.Cut(v, " "); strings.EqualFold(word, scheme) {
			return true
		}
	}
	return false
}

// Check reports whether a member has sent a request for a path.
func (k *Key) Check(r *http.Request, path string) bool {
	fields := r.Header[authorization]
	if len(fields) != 1 || !Claims(r) {
		return false
	}
	_, text, _ := strings.Cut(fields[0], " ")
	got, err := hex.DecodeString(text)
	return err == nil && hmac.Equal(got, k.sum(r.Method, path, r.URL.RawQuery))
}

// Restore makes the header of a member's request that of the caller whose scrape is passed on.
func Restore(h http.Header) http.Header {
	h = h.Clone()
	h.Del(authorization)
	if own := h[forwarded]; len(own) > 0 {
		h[authorization] = own
	}
	h.Del(forwarded)
	return h
}
