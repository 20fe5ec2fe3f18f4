package etcd

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dhtprom/dhtprom/internal/record"
	"github.com/dhtprom/dhtprom/ports/kv"
)

// changesTable is the table of chunks and pointers, for their checksums.
const changesTable = "changes"

var errTooLarge = fmt.Errorf("the set is too large for the group's store, which takes at most %d MiB of it", chunkSize*maxChunks>>20)

// pointer is the value of the key that makes a change take effect.
type pointer struct {
	Version int `json:"v"`
	Chunks  int `json:"chunks"`
}

// large is a change that is larger than a transaction, as the store has it.
type large struct {
	seq     string
	chunks  map[string][]byte // values
	pointer []byte            // value
	pointed bool              // there is a pointer: the change takes effect
	ops     []kv.Op           // of one that does, with keys below the prefix
	err     error             // of reading them
}

func newLarge(seq string) *large { return &large{seq: seq, chunks: map[string][]byte{}} }

// point notes the pointer, which comes after the chunks.
func (l *large) point(value []byte) {
	l.pointer, l.pointed = value, true
	l.ops, l.err = l.read()
}

// read returns the operations.
func (l *large) read() (ops []kv.Op, err error) {
	payload, err := unseal(l.seq, l.pointer)
	if err != nil {
		return nil, err
	}
	var p pointer
	if err := json.Unmarshal(payload, &p); err != nil {
		return nil, err
	}
	if p.Version != 1 || p.Chunks < 0 || p.Chunks > maxChunks {
		return nil, fmt.Errorf("version %d with %d chunks, this program reads 1", p.Version, p.Chunks)
	}
	for i := range p.Chunks {
		name := chunkName(i)
		payload, err := unseal(l.seq+"/"+name, l.chunks[name])
		if err != nil {
			return nil, fmt.Errorf("chunk %s: %w", name, err)
		}
		some, err := parseOps(payload)
		if err != nil {
			return nil, fmt.Errorf("chunk %s: %w", name, err)
		}
		ops = append(ops, some...)
	}
	return ops, nil
}

// keys returns the keys of the change below changes/.
func (l *large) keys() (keys []string) {
	if l.pointed {
		keys = append(keys, l.seq)
	}
	for _, name := range slices.Sorted(maps.Keys(l.chunks)) {
		keys = append(keys, l.seq+"/"+name)
	}
	return keys
}

// largeOf returns the changes in a list, oldest first. Prefix is that of the group.
func largeOf(prefix string, items []kv.Item) (all []*large) {
	pointers := map[*large][]byte{} // which are before the chunks in a list
	for _, i := range items {
		seq, chunk, isLarge := largeKey(prefix, i.Key)
		if !isLarge {
			continue
		}
		if len(all) == 0 || all[len(all)-1].seq != seq {
			all = append(all, newLarge(seq))
		}
		if l := all[len(all)-1]; chunk == "" {
			pointers[l] = i.Value
		} else {
			l.chunks[chunk] = i.Value
		}
	}
	for _, l := range all {
		if value, ok := pointers[l]; ok {
			l.point(value)
		}
	}
	return all
}

func largeKey(prefix, key string) (seq, chunk string, isLarge bool) {
	rest, isLarge := strings.CutPrefix(key, prefix+changesTable+"/")
	seq, chunk, _ = strings.Cut(rest, "/")
	return seq, chunk, isLarge && seq != ""
}

func chunkName(i int) string { return fmt.Sprintf("%04d", i) }

func seal(name string, payload []byte, term int64) []byte {
	value, _ := record.Seal(changesTable, name, payload, uint64(term))
	return value
}

func unseal(name string, value []byte) ([]byte, error) {
	it, err := record.Unseal(changesTable, name, value)
	if err == nil && it.Write == 0 {
		err = errors.New("it is incomplete")
	}
	return it.Payload, err
}

// A chunk is a sequence of operations:
//
//	kind, 0 to delete and 1 to set · length of the key · key · length of the value · value
//
// Kind and lengths are unsigned varints. Keys are those below the prefix of the group.

func appendOp(b []byte, key string, op kv.Op) []byte {
	kind := uint64(1)
	if op.Delete {
		kind = 0
	}
	b = binary.AppendUvarint(b, kind)
	b = append(binary.AppendUvarint(b, uint64(len(key))), key...)
	return append(binary.AppendUvarint(b, uint64(len(op.Value))), op.Value...)
}

var errChunk = errors.New("its operations are malformed")

// parseOps parses a chunk.
func parseOps(b []byte) (ops []kv.Op, err error) {
	r := bytes.NewReader(b)
	for r.Len() > 0 {
		kind, err := binary.ReadUvarint(r)
		if err != nil || kind > 1 {
			return nil, errChunk
		}
		key, err := parseBytes(r)
		if err != nil {
			return nil, err
		}
		value, err := parseBytes(r)
		if err != nil {
			return nil, err
		}
		table, _, ok := strings.Cut(string(key), "/")
		if !ok || table != record.Aliases && table != record.Pins {
			return nil, errChunk
		}
		ops = append(ops, kv.Op{Key: string(key), Value: value, Delete: kind == 0})
	}
	return ops, nil
}

func parseBytes(r *bytes.Reader) ([]byte, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil || n > uint64(r.Len()) {
		return nil, errChunk
	}
	b := make([]byte, n)
	_, err = r.Read(b)
	if n == 0 {
		err = nil
	}
	return b, err
}
