package bolt

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/dhtprom/dhtprom/domain"
)

// recordVersion is the version of the JSON in a record, tableFormat that of everything around it.
const (
	recordVersion = 1
	tableFormat   = 1
)

var (
	aliasBucket   = []byte("aliases")
	pinBucket     = []byte("pins")
	summaryBucket = []byte("summary")
	summaryKey    = []byte("table")
)

// record is an entry on disk.
type record struct {
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

func encode(e domain.Entry) ([]byte, error) {
	return json.Marshal(record{
		Version: recordVersion, Key: e.Key, Hostname: e.Hostname, Service: e.Service, Instance: e.Instance, Identity: e.Identity, IdentityID: e.IdentityID,
		InSet: e.InSet, Label: e.Label, Labels: maps.Collect(e.Labels.All()), Fields: slices.Collect(e.Fields.All()),
		Registered: e.Registered.UTC(), Renewed: e.Renewed.UTC(), Expires: e.Expires.UTC(),
	})
}

func decode(alias string, value []byte) (domain.Entry, error) {
	var r record
	if err := json.NewDecoder(bytes.NewReader(value)).Decode(&r); err != nil {
		return domain.Entry{}, err
	}
	if r.Version != recordVersion {
		return domain.Entry{}, fmt.Errorf("version %d, this program reads %d", r.Version, recordVersion)
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

// pinRecord is a pin on disk.
type pinRecord struct {
	Version int              `json:"v"`
	Key     domain.PublicKey `json:"key"`
	Since   time.Time        `json:"since"`
}

func encodePin(p domain.Pin) ([]byte, error) {
	return json.Marshal(pinRecord{Version: recordVersion, Key: p.Key, Since: p.Since.UTC()})
}

func decodePin(alias string, value []byte) (domain.Pin, error) {
	var r pinRecord
	if err := json.NewDecoder(bytes.NewReader(value)).Decode(&r); err != nil {
		return domain.Pin{}, err
	}
	if r.Version != recordVersion {
		return domain.Pin{}, fmt.Errorf("version %d, this program reads %d", r.Version, recordVersion)
	}
	p := domain.Pin{Alias: domain.Alias(alias), Key: r.Key, Since: r.Since}
	return p, p.Check()
}

// readable reports whether this version can read a record. Others are reported and left unchanged.
func readable(bucket, alias string, payload []byte) bool {
	if bucket == string(pinBucket) {
		_, err := decodePin(alias, payload)
		return err == nil
	}
	_, err := decode(alias, payload)
	return err == nil
}

// A sealed record is followed by a line that earlier versions, which read one JSON value, ignore:
//
//	JSON · newline · number of its write, in decimal · space · checksum, 16 hexadecimal digits
//
// The checksum is the first 8 bytes of SHA-256 over bucket, alias, JSON and number. It detects damage in a record, and
// distinguishes records from other bytes in unreachable pages.
const sumDigits = 16

func checksum(bucket, alias string, payload []byte, write uint64) uint64 {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%d\x00%s\x00", bucket, write, alias)
	h.Write(payload)
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// seal returns the value of a record and its checksum.
func seal(bucket, alias string, payload []byte, write uint64) (value []byte, sum uint64) {
	sum = checksum(bucket, alias, payload, write)
	value = append(append(make([]byte, 0, len(payload)+40), payload...), '\n')
	value = append(strconv.AppendUint(value, write, 10), ' ')
	return fmt.Appendf(value, "%0*x", sumDigits, sum), sum
}

// item is a parsed value of a record.
type item struct {
	payload []byte
	write   uint64 // 0 in a record of an earlier version, which has no checksum
	sum     uint64
}

// unseal parses a value. A value without a checksum, of an earlier version, is a payload; err means a wrong checksum.
func unseal(bucket, alias string, value []byte) (item, error) {
	payload, trailer, sealed := cutLast(value, '\n')
	number, digits, ok := bytes.Cut(trailer, []byte{' '})
	if !sealed || !ok || len(digits) != sumDigits {
		return item{payload: value}, nil
	}
	write, err := strconv.ParseUint(string(number), 10, 64)
	if err != nil {
		return item{payload: value}, nil
	}
	sum, err := strconv.ParseUint(string(digits), 16, 64)
	if err != nil || sum != checksum(bucket, alias, payload, write) {
		return item{}, errChecksum
	}
	return item{payload, write, sum}, nil
}

func cutLast(b []byte, sep byte) (before, after []byte, found bool) {
	if i := bytes.LastIndexByte(b, sep); i >= 0 {
		return b[:i], b[i+1:], true
	}
	return b, nil, false
}

// summary is a record with the counts and checksums of the others, so that a missing record is detected. Each write updates
// it.
type summary struct {
	Format  int    `json:"format"`
	Write   uint64 `json:"write"` // number of the write, bbolt's transaction id
	Aliases tally  `json:"aliases"`
	Pins    tally  `json:"pins"`
}

// summaryOf returns the summary of a write.
func summaryOf(write uint64, tallies map[string]tally) ([]byte, error) {
	return json.Marshal(summary{
		Format: tableFormat, Write: write, Aliases: tallies[string(aliasBucket)], Pins: tallies[string(pinBucket)],
	})
}

// tally is the count of a bucket's records and the sum of their checksums.
type tally struct {
	Count int    `json:"count"`
	Sum   uint64 `json:"sum,string"`
}

func (t *tally) add(sum uint64)    { t.Count, t.Sum = t.Count+1, t.Sum+sum }
func (t *tally) remove(sum uint64) { t.Count, t.Sum = t.Count-1, t.Sum-sum }
