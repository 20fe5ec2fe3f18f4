package dht

import (
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht/compact"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// Offer is the tail of a registration, after the fields at which the JavaScript decoders stop reading. With it the client
// offers to be scraped on the same connection, and proves that it holds the registered key by signing the connection's
// handshake hash:
//
//	uint version (1) · uint flags (1 proof, 2 unconnected, 4 instance) · fixed64 signature · fixed16 instance, if flagged
//
// A tail that cannot be parsed is ignored, so that later versions can define others.
type Offer struct {
	Proof [64]byte
	// Unconnected means that the client has no connection of the scraper, even if the scraper still has one to it: the
	// client was restarted, or has moved.
	Unconnected bool
	// Instance is domain.Register.Instance; zero is not encoded.
	Instance domain.Instance
}

const (
	tailVersion   = 1
	flagProof     = 1 // of a registration: a signature follows
	flagUnconn    = 2 // of a registration: see Offer.Unconnected
	flagInst      = 4 // of a registration: the instance follows the signature
	flagAccept    = 1 // of a reply: the scraper opens its metrics channel here
	flagShared    = 2 // of a reply: another running client has the same key
	flagElsewhere = 8 // of a reply: another member of the scraper's group connects to the client; 4 is flagUpdated
)

// nsOffer is the namespace of signatures of offers.
var nsOffer = id.Namespace("dhtprom/registration", 0)

// size is the length of the encoding.
func (o Offer) size() int {
	if o.Instance.IsZero() {
		return 1 + 1 + 64
	}
	return 1 + 1 + 64 + len(o.Instance)
}

// SignOffer returns an offer signed with keys for the connection with a handshake hash.
func SignOffer(keys id.KeyPair, hash [64]byte) Offer {
	return Offer{Proof: keys.Sign(append(nsOffer[:], hash[:]...))}
}

// Proves reports whether the offer was signed by key for the connection with a handshake hash.
func (o Offer) Proves(key domain.PublicKey, hash [64]byte) bool {
	return hash != [64]byte{} && id.Verify(id.PublicKey(key), append(nsOffer[:], hash[:]...), o.Proof[:])
}

// Append appends the encoding.
func (o Offer) Append(dst []byte) []byte {
	flags := uint64(flagProof)
	if o.Unconnected {
		flags |= flagUnconn
	}
	if !o.Instance.IsZero() {
		flags |= flagInst
	}
	dst = compact.AppendUint(compact.AppendUint(dst, tailVersion), flags)
	dst = append(dst, o.Proof[:]...)
	if !o.Instance.IsZero() {
		dst = append(dst, o.Instance[:]...)
	}
	return dst
}

// ParseOffer parses the tail of a registration; nil is no offer.
func ParseOffer(b []byte) *Offer {
	r := compact.NewReader(b)
	version, flags := r.Uint(), r.Uint()
	if r.Err() != nil || version != tailVersion || flags&flagProof == 0 {
		return nil
	}
	proof := r.Fixed(64)
	var instance domain.Instance
	if flags&flagInst != 0 {
		copy(instance[:], r.Fixed(len(instance)))
	}
	if r.Err() != nil {
		return nil
	}
	return &Offer{Proof: [64]byte(proof), Unconnected: flags&flagUnconn != 0, Instance: instance}
}
