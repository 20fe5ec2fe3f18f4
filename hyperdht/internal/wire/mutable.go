package wire

import (
	"github.com/dhtprom/dhtprom/hyperdht/compact"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// MutablePut is the value of CmdMutablePut:
//
//	fixed32 publicKey · uint seq · buffer value · fixed64 signature
type MutablePut struct {
	PublicKey id.PublicKey
	MutableValue
}

// Size is the number of bytes Append appends.
func (m MutablePut) Size() int { return len(m.PublicKey) + m.MutableValue.Size() }

// Append appends the encoded message.
func (m MutablePut) Append(dst []byte) []byte {
	return m.MutableValue.Append(append(dst, m.PublicKey[:]...))
}

// Verify reports whether the message's key signed its value.
func (m MutablePut) Verify() bool { return m.MutableValue.Verify(m.PublicKey) }

// ParseMutablePut reads the value of a CmdMutablePut.
func ParseMutablePut(b []byte) (MutablePut, error) {
	r := compact.NewReader(b)
	m := MutablePut{PublicKey: r.Key(), MutableValue: readMutableValue(&r)}
	if err := r.Err(); err != nil {
		return MutablePut{}, err
	}
	return m, nil
}

// MutableValue is the answer to CmdMutableGet, and what nodes store:
//
//	uint seq · buffer value · fixed64 signature
type MutableValue struct {
	Seq       uint64
	Value     []byte
	Signature [64]byte
}

// Size is the number of bytes Append appends.
func (m MutableValue) Size() int {
	return compact.UintSize(m.Seq) + compact.BytesSize(len(m.Value)) + len(m.Signature)
}

// Append appends the encoded message.
func (m MutableValue) Append(dst []byte) []byte {
	dst = compact.AppendUint(dst, m.Seq)
	dst = compact.AppendBytes(dst, m.Value)
	return append(dst, m.Signature[:]...)
}

// Verify reports whether the key signed the value.
func (m MutableValue) Verify(pk id.PublicKey) bool {
	return id.Verify(pk, mutableSignable(m.Seq, m.Value), m.Signature[:])
}

// ParseMutableValue reads the answer to a CmdMutableGet.
func ParseMutableValue(b []byte) (MutableValue, error) {
	r := compact.NewReader(b)
	m := readMutableValue(&r)
	if err := r.Err(); err != nil {
		return MutableValue{}, err
	}
	return m, nil
}

func readMutableValue(r *compact.Reader) MutableValue {
	m := MutableValue{Seq: r.Uint(), Value: r.Bytes()}
	copy(m.Signature[:], r.Fixed(len(m.Signature)))
	return m
}

// SignMutable signs a value under a sequence number and returns what to store.
func SignMutable(kp id.KeyPair, seq uint64, value []byte) MutableValue {
	return MutableValue{Seq: seq, Value: value, Signature: kp.Sign(mutableSignable(seq, value))}
}

// mutableSignable returns the signed bytes: the namespace, then H(uint seq · buffer value).
func mutableSignable(seq uint64, value []byte) []byte {
	head := compact.AppendUint(nil, seq)
	head = compact.AppendUint(head, uint64(len(value)))
	hash := id.Hash(head, value)
	ns := id.NSMutablePut
	return append(ns[:], hash[:]...)
}

// MutableGet is the value of CmdMutableGet: uint seq, the lowest sequence number of interest.
type MutableGet struct {
	Seq uint64
}

// Size is the number of bytes Append appends.
func (m MutableGet) Size() int { return compact.UintSize(m.Seq) }

// Append appends the encoded message.
func (m MutableGet) Append(dst []byte) []byte { return compact.AppendUint(dst, m.Seq) }

// ParseMutableGet reads the value of a CmdMutableGet.
func ParseMutableGet(b []byte) (MutableGet, error) {
	r := compact.NewReader(b)
	m := MutableGet{Seq: r.Uint()}
	return m, r.Err()
}
