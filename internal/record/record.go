// Package record encodes entries and pins for the stores that keep them: adapters/bolt in a file, adapters/etcd in a store that several
// scrapers share.
//
// A record is JSON with a version, so that later programs can read it, followed by a checksum. A store reports a record that cannot be
// read, and leaves it unchanged.
package record

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/dhtprom/dhtprom/domain"
)

// The tables that records are in.
const (
	Aliases = "aliases"
	Pins    = "pins"
)

// version is the version of the JSON in a record.
const version = 1

// ErrChecksum means that a record is damaged.
var ErrChecksum = errors.New("its checksum is wrong")

// entry is an entry in JSON.
type entry struct {
	Version    int               `json:"v"`
	Key        domain.PublicKey  `json:"key"`
	Hostname   string            `json:"hostname"`
	Service    string            `json:"service"`
	Instance   domain.Instance   `json:"instance,omitzero"`
	Identity   string            `json:"identity,omitzero"`
	IdentityID domain.IdentityID `json:"identity_id,omitzero"`

	InSet  bool              `json:"set,omitzero"`
	Label  string            `json:"label,omitzero"`
	Labels map[string]string `json:"labels,omitempty"`
	Fields []string          `json:"fields,omitempty"`

	Registered time.Time `json:"registered"`
	Renewed    time.Time `json:"renewed"`
	Expires    time.Time `json:"expires"`
}

// EncodeEntry returns the payload of an entry.
func EncodeEntry(e domain.Entry) ([]byte, error) {
	return json.Marshal(entry{
		Version: version, Key: e.Key, Hostname: e.Hostname, Service: e.Service, Instance: e.Instance, Identity: e.Identity, IdentityID: e.IdentityID,
		InSet: e.InSet, Label: e.Label, Labels: maps.Collect(e.Labels.All()), Fields: slices.Collect(e.Fields.All()),
		Registered: e.Registered.UTC(), Renewed: e.Renewed.UTC(), Expires: e.Expires.UTC(),
	})
}

// DecodeEntry returns the entry of a payload, checked.
func DecodeEntry(alias string, value []byte) (domain.Entry, error) {
	var r entry
	if err := json.NewDecoder(bytes.NewReader(value)).Decode(&r); err != nil {
		return domain.Entry{}, err
	}
	if r.Version != version {
		return domain.Entry{}, fmt.Errorf("version %d, this program reads %d", r.Version, version)
	}
	e := domain.Entry{
		Alias: domain.Alias(alias), Key: r.Key, Hostname: r.Hostname, Service: r.Service, Instance: r.Instance, Identity: r.Identity, IdentityID: r.IdentityID,
		InSet: r.InSet, Label: r.Label,
		Registered: r.Registered, Renewed: r.Renewed, Expires: r.Expires,
	}
	var err error
	if e.Labels, err = domain.ParseLabels(r.Labels); err != nil {
		return domain.Entry{}, err
	}
	if e.Fields, err = domain.ParseFields(r.Fields); err != nil {
		return domain.Entry{}, err
	}
	return e, e.Check()
}

// pin is a pin in JSON.
type pin struct {
	Version int              `json:"v"`
	Key     domain.PublicKey `json:"key"`
	Since   time.Time        `json:"since"`
}

// EncodePin returns the payload of a pin.
func EncodePin(p domain.Pin) ([]byte, error) {
	return json.Marshal(pin{Version: version, Key: p.Key, Since: p.Since.UTC()})
}

// DecodePin returns the pin of a payload, checked.
func DecodePin(alias string, value []byte) (domain.Pin, error) {
	var r pin
	if err := json.NewDecoder(bytes.NewReader(value)).Decode(&r); err != nil {
		return domain.Pin{}, err
	}
	if r.Version != version {
		return domain.Pin{}, fmt.Errorf("version %d, this program reads %d", r.Version, version)
	}
	p := domain.Pin{Alias: domain.Alias(alias), Key: r.Key, Since: r.Since}
	return p, p.Check()
}

// Readable reports whether this version can read a record. Others are reported and left unchanged.
func Readable(table, alias string, payload []byte) bool {
	if table == Pins {
		_, err := DecodePin(alias, payload)
		return err == nil
	}
	_, err := DecodeEntry(alias, payload)
	return err == nil
}

// A sealed record is followed by a line that earlier versions, which read one JSON value, ignore:
//
//	JSON · newline · number of its write, in decimal · space · checksum, 16 hexadecimal digits
//
// The checksum is the first 8 bytes of SHA-256 over table, alias, JSON and number. It detects damage in a record, and
// distinguishes records from other bytes.
const sumDigits = 16

func checksum(table, alias string, payload []byte, write uint64) uint64 {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%d\x00%s\x00", table, write, alias)
	h.Write(payload)
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// Seal returns the value of a record and its checksum.
func Seal(table, alias string, payload []byte, write uint64) (value []byte, sum uint64) {
	sum = checksum(table, alias, payload, write)
	value = append(append(make([]byte, 0, len(payload)+40), payload...), '\n')
	value = append(strconv.AppendUint(value, write, 10), ' ')
	return fmt.Appendf(value, "%0*x", sumDigits, sum), sum
}

// Item is a parsed value of a record.
type Item struct {
	Payload []byte
	Write   uint64 // 0 in a record of an earlier version, which has no checksum
	Sum     uint64
}

// Unseal parses a value. A value without a checksum, of an earlier version, is a payload; err means a wrong checksum.
func Unseal(table, alias string, value []byte) (Item, error) {
	payload, trailer, sealed := cutLast(value, '\n')
	number, digits, ok := bytes.Cut(trailer, []byte{' '})
	if !sealed || !ok || len(digits) != sumDigits {
		return Item{Payload: value}, nil
	}
	write, err := strconv.ParseUint(string(number), 10, 64)
	if err != nil {
		return Item{Payload: value}, nil
	}
	sum, err := strconv.ParseUint(string(digits), 16, 64)
	if err != nil || sum != checksum(table, alias, payload, write) {
		return Item{}, ErrChecksum
	}
	return Item{payload, write, sum}, nil
}

func cutLast(b []byte, sep byte) (before, after []byte, found bool) {
	if i := bytes.LastIndexByte(b, sep); i >= 0 {
		return b[:i], b[i+1:], true
	}
	return b, nil, false
}
