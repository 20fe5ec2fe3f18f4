package dht

import (
	"errors"
	"fmt"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht/compact"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports"
)

// The content of a set is a stream of items, which the events targets-data carry in pieces:
//
//	uint length · uint kind · fields, which begin with the alias
//
// The length is that of kind and fields. Items of other kinds are ignored, and so are bytes after the fields.
const (
	// itemTarget: string alias · string hostname · string service · string instance label · uint n · n × (string name · string value) labels ·
	// uint m · m × string header field
	itemTarget = 0
	// itemGone: string alias
	itemGone = 1
	// itemProof: string alias · fixed32 former key · fixed64 signature by it
	itemProof = 2
)

// nsFormer is the namespace of signatures by former keys.
var nsFormer = id.Namespace("dhtprom/former key", 0)

// formerMessage returns the signed message of a proof on the connection with a handshake hash.
func formerMessage(set domain.PublicKey, hash [64]byte) []byte {
	b := append(make([]byte, 0, len(nsFormer)+len(hash)+len(set)), nsFormer[:]...)
	return append(append(b, hash[:]...), set[:]...)
}

// appendItem appends an item whose kind and fields are made by f in a buffer, which it returns for the next item.
func appendItem(dst, buf []byte, kind uint64, f func([]byte) []byte) (_, again []byte) {
	buf = f(compact.AppendUint(buf[:0], kind))
	return compact.AppendBytes(dst, buf), buf
}

// appendContent appends the items of targets and of aliases that are gone.
func appendContent(dst []byte, targets []domain.Target, gone []domain.Alias) []byte {
	var buf []byte
	for _, t := range targets {
		dst, buf = appendItem(dst, buf, itemTarget, func(b []byte) []byte { return appendTarget(b, t) })
	}
	for _, a := range gone {
		dst, buf = appendItem(dst, buf, itemGone, func(b []byte) []byte { return compact.AppendString(b, string(a)) })
	}
	return dst
}

func appendTarget(b []byte, t domain.Target) []byte {
	for _, s := range []string{string(t.Alias), t.Hostname, t.Service, t.Label} {
		b = compact.AppendString(b, s)
	}
	b = compact.AppendUint(b, uint64(t.Labels.Len()))
	for name, value := range t.Labels.All() {
		b = compact.AppendString(compact.AppendString(b, name), value)
	}
	b = compact.AppendUint(b, uint64(t.Fields.Len()))
	for name := range t.Fields.All() {
		b = compact.AppendString(b, name)
	}
	return b
}

// appendProof appends the item that proves a former key of an alias.
func appendProof(dst []byte, a domain.Alias, former id.KeyPair, message []byte) []byte {
	dst, _ = appendItem(dst, nil, itemProof, func(b []byte) []byte {
		b = compact.AppendString(b, string(a))
		b = append(b, former.Public[:]...)
		proof := former.Sign(message)
		return append(b, proof[:]...)
	})
	return dst
}

// contentRules are the limits on the content of a set, and the message that proofs sign.
type contentRules struct {
	maxName int
	key     domain.PublicKey // of the set
	message []byte           // nil where no proof can be valid
}

// contentReader reads the items of a set.
type contentReader struct {
	contentRules
	content ports.SetContent
	targets int // bad ones included
	proofs  int
}

// parseContent reads the content of a set. The error describes the malformed item. A target that can be read and not be registered
// is one of Bad.
func parseContent(b []byte, rules contentRules) (ports.SetContent, error) {
	c := contentReader{contentRules: rules}
	r := compact.NewReader(b)
	for r.Len() > 0 {
		item := compact.NewReader(r.Bytes())
		if r.Err() != nil {
			return ports.SetContent{}, errors.New("the last item is incomplete")
		}
		kind := item.Uint()
		switch {
		case item.Err() != nil:
		case kind == itemTarget:
			c.readTarget(&item)
		case kind == itemGone:
			c.content.Gone = append(c.content.Gone, clipAlias(item.Bytes()))
		case kind == itemProof:
			c.readProof(&item)
		}
		switch {
		case item.Err() != nil:
			return ports.SetContent{}, fmt.Errorf("item of kind %d: %w", kind, item.Err())
		case c.targets > domain.MaxTargets || len(c.content.Gone) > domain.MaxTargets:
			return ports.SetContent{}, fmt.Errorf("more than %d targets", domain.MaxTargets)
		}
	}
	return c.content, nil
}

func (c *contentReader) readTarget(r *compact.Reader) {
	c.targets++
	alias := r.Bytes()
	texts := [][]byte{alias, r.Bytes(), r.Bytes(), r.Bytes()}
	labels, okLabels := readLabels(r)
	fields, okFields := readFields(r)
	if r.Err() != nil {
		return
	}
	good := okLabels && okFields
	for _, s := range texts {
		good = good && len(s) <= c.maxName
	}
	if !good {
		c.content.Bad = append(c.content.Bad, clipAlias(alias))
		return
	}
	c.content.Targets = append(c.content.Targets, domain.Target{
		Alias: domain.Alias(alias), Hostname: string(texts[1]), Service: string(texts[2]), Label: string(texts[3]), Labels: labels, Fields: fields,
	})
}

// readLabels reads labels. ok is false for those that no target may have.
func readLabels(r *compact.Reader) (_ domain.Labels, ok bool) {
	n := r.Count(2, compact.MaxArray)
	ok = n <= domain.MaxLabels
	var pairs map[string]string
	if ok && n > 0 {
		pairs = make(map[string]string, n)
	}
	for range n {
		name, value := r.Bytes(), r.Bytes()
		ok = ok && len(name) <= domain.MaxLabelName && len(value) <= domain.MaxLabelValue
		if ok {
			_, repeated := pairs[string(name)]
			ok = !repeated
			pairs[string(name)] = string(value)
		}
	}
	if !ok || r.Err() != nil {
		return domain.Labels{}, ok
	}
	l, err := domain.ParseLabels(pairs)
	return l, err == nil
}

// readFields reads names of header fields likewise.
func readFields(r *compact.Reader) (_ domain.Fields, ok bool) {
	n := r.Count(1, compact.MaxArray)
	ok = n <= domain.MaxFields
	var names []string
	for range n {
		name := r.Bytes()
		ok = ok && len(name) <= domain.MaxFieldName
		if ok {
			names = append(names, string(name))
		}
	}
	if !ok || r.Err() != nil {
		return domain.Fields{}, ok
	}
	f, err := domain.ParseFields(names)
	return f, err == nil
}

// readProof verifies a proof. An invalid one is ignored, and so are those beyond maxProofs.
func (c *contentReader) readProof(r *compact.Reader) {
	alias, key, proof := r.Bytes(), domain.PublicKey(r.Key()), r.Fixed(64)
	if r.Err() != nil || key == c.key || c.message == nil || c.proofs == maxProofs {
		return
	}
	c.proofs++
	if !id.Verify(id.PublicKey(key), c.message, proof) {
		return
	}
	if c.content.Former == nil {
		c.content.Former = map[domain.Alias]domain.PublicKey{}
	}
	c.content.Former[clipAlias(alias)] = key
}
