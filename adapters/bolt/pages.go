package bolt

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"os"

	"github.com/dhtprom/dhtprom/internal/record"
)

// This file reads a bbolt file without bbolt, which maps the file and trusts its content: a bad page number causes a panic,
// a truncated file a fault, and a pointer to a wrong page hides records. Here every number and every record's checksum is
// checked, and unreadable parts are reported.
//
// The layout (bbolt's internal/common, byte order of the machine):
//
//	page    id u64 · flags u16 · count u16 · overflow u32 · elements · their bytes
//	meta    magic u32 · version u32 · page size u32 · flags u32 · root u64 · sequence u64 · freelist u64 · pages u64 ·
//	        write u64 · FNV-1a of these u64                                              (pages 0 and 1)
//	branch  each: offset of the key from here u32 · its length u32 · page u64
//	leaf    each: flags u32 (1 is a bucket) · offset from here u32 · length of key u32 · length of value u32
//	bucket  as a value: root page u64 · sequence u64; root 0 means that a page follows, which is the bucket
//	free    count u16, or 0xffff and count u64 · pages u64

const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2

	pageHeader    = 16
	elementSize   = 16
	metaSize      = 64
	bucketHeader  = 16
	noFreelist    = 1<<64 - 1
	minPageSize   = 1 << 10
	maxPageSize   = 1 << 16
	flagBranch    = 0x01
	flagLeaf      = 0x02
	flagMeta      = 0x04
	flagFreelist  = 0x10
	flagSubBucket = 0x01
	// maxDepth bounds the depth of a tree: with two keys a page 64 levels hold more than any disk.
	maxDepth = 64
	// maxFile bounds the bytes read of a file. 10,000 aliases take about 8 MiB.
	maxFile = 1 << 29
	// maxProblems bounds the listed problems; further ones are counted.
	maxProblems = 16
)

var native = binary.NativeEndian

// table is the content of a file.
type table struct {
	records map[string]map[string]record.Item // by bucket and alias
	summary *summary                          // nil in a file of an earlier version
	write   uint64                            // number of the last write; 0 if both headers are unreadable

	problems []string // damage
	more     int      // problems that are not listed
	rescued  int      // records recovered from unreachable pages
	newer    error    // written by a later version of this program
	known    bool     // there is a bucket of this program
	other    string   // a bucket of another program
}

func (t *table) damaged() bool { return len(t.problems) > 0 }

func (t *table) problem(format string, args ...any) {
	if len(t.problems) == maxProblems {
		t.more++
		return
	}
	t.problems = append(t.problems, fmt.Sprintf(format, args...))
}

func isKnown(bucket string) bool {
	return bucket == string(aliasBucket) || bucket == string(pinBucket) || bucket == string(summaryBucket)
}

// name records the name of a bucket.
func (t *table) name(bucket string) {
	if isKnown(bucket) {
		t.known = true
	} else if t.other == "" {
		t.other = bucket
	}
}

// count returns the number of records of all buckets.
func (t *table) count() (n int) {
	for _, records := range t.records {
		n += len(records)
	}
	return n
}

type meta struct {
	pageSize              int
	root, freelist, pages uint64
	write                 uint64
}

// readMeta parses a header.
func readMeta(b []byte) (m meta, err error) {
	if len(b) < pageHeader+metaSize {
		return m, errors.New("the file ends before it")
	}
	b = b[pageHeader:]
	sum := fnv.New64a()
	sum.Write(b[:metaSize-8])
	switch {
	case native.Uint32(b) != boltMagic:
		return m, errors.New("wrong magic number")
	case native.Uint64(b[metaSize-8:]) != sum.Sum64():
		return m, record.ErrChecksum
	case native.Uint32(b[4:]) != boltVersion:
		return m, errNewer
	}
	return meta{
		pageSize: int(native.Uint32(b[8:])), root: native.Uint64(b[16:]), freelist: native.Uint64(b[32:]),
		pages: native.Uint64(b[40:]), write: native.Uint64(b[48:]),
	}, nil
}

var errNewer = errors.New("written by a later version")

// reader walks the pages of a file.
type reader struct {
	t    *table
	b    []byte
	meta meta
	used []bool // by page
	sums map[string]*tally
	// unsealed means that there are records without a checksum.
	unsealed bool
	// last is the last key of the bucket that is being walked: keys ascend over all of its pages.
	last []byte
}

// readTable reads a file.
func readTable(b []byte) *table {
	t := &table{records: map[string]map[string]record.Item{string(aliasBucket): {}, string(pinBucket): {}}}
	r := &reader{t: t, b: b, sums: map[string]*tally{}}
	if r.headers() && t.newer == nil {
		r.walk()
		r.compare()
	}
	if t.newer == nil {
		r.rescue()
	}
	if t.damaged() {
		// Of a damaged file, only records with a valid checksum count, and readable ones of an earlier version.
		for bucket, records := range t.records {
			maps.DeleteFunc(records, func(alias string, it record.Item) bool {
				return alias == "" || it.Write == 0 && !record.Readable(bucket, alias, it.Payload)
			})
		}
	}
	return t
}

// headers reads both headers and selects the later one. A header is smaller than a disk's atomic write, so a crash leaves no
// bad one.
func (r *reader) headers() bool {
	t := r.t
	size := os.Getpagesize()
	first, err0 := readMeta(r.b)
	if err0 == nil {
		size = first.pageSize
	} else {
		for s := minPageSize; s <= maxPageSize; s *= 2 {
			if len(r.b) > s {
				if m, err := readMeta(r.b[s:]); err == nil && m.pageSize == s {
					size = s
				}
			}
		}
	}
	second, err1 := meta{}, errors.New("the file ends before it")
	if size >= minPageSize && size < len(r.b) {
		second, err1 = readMeta(r.b[size:])
	}
	if errors.Is(err0, errNewer) || errors.Is(err1, errNewer) {
		t.newer = errNewer
		return false
	}
	if err0 != nil {
		t.problem("header 0: %v", err0)
	}
	if err1 != nil {
		t.problem("header 1: %v", err1)
	}
	switch {
	case err0 != nil && err1 != nil:
		r.meta.pageSize = size
		return false
	case err0 != nil || err1 == nil && second.write > first.write:
		r.meta = second
	default:
		r.meta = first
	}
	if err0 == nil && err1 == nil && (first.write%2 != 0 || second.write%2 != 1 || first.write-second.write != 1 && second.write-first.write != 1) {
		t.problem("headers of the writes %d and %d, which are not consecutive", first.write, second.write)
	}
	t.write = r.meta.write
	if r.meta.pageSize < minPageSize || r.meta.pageSize > maxPageSize || r.meta.pageSize != size {
		t.problem("page size %d", r.meta.pageSize)
		r.meta.pageSize = os.Getpagesize()
		return false
	}
	return true
}

// walk reads the tree from its root.
func (r *reader) walk() {
	t, here := r.t, uint64(len(r.b)/r.meta.pageSize)
	if r.meta.pages > here {
		t.problem("%d pages of %d are left: the file was truncated", here, r.meta.pages)
	}
	r.used = make([]bool, min(r.meta.pages, here))
	r.tree("", r.meta.root, 0, nil)
	r.free()
}

// page returns a page with its overflow pages, once.
func (r *reader) page(id uint64) (p []byte, ok bool) {
	if id < 2 || id >= uint64(len(r.used)) {
		r.t.problem("page %d is not in the file", id)
		return nil, false
	}
	at := int(id) * r.meta.pageSize
	p = r.b[at : at+r.meta.pageSize]
	if got := native.Uint64(p); got != id {
		r.t.problem("page %d has the number %d", id, got)
		return nil, false
	}
	n := uint64(native.Uint32(p[12:])) + 1
	if id+n > uint64(len(r.used)) {
		r.t.problem("page %d extends past the end of the file", id)
		return nil, false
	}
	for i := id; i < id+n; i++ {
		if r.used[i] {
			r.t.problem("page %d is in use twice", i)
			return nil, false
		}
		r.used[i] = true
	}
	return r.b[at : at+int(n)*r.meta.pageSize], true
}

// tree reads the tree of a bucket. low is the page's key in its parent.
func (r *reader) tree(bucket string, id uint64, depth int, low []byte) {
	if depth > maxDepth {
		r.t.problem("page %d is too deep", id)
		return
	}
	p, ok := r.page(id)
	if !ok {
		return
	}
	switch flags := native.Uint16(p[8:]); flags {
	case flagLeaf:
		r.leaf(bucket, p, low, depth, fmt.Sprint("page ", id))
	case flagBranch:
		n := int(native.Uint16(p[10:]))
		for i := range n {
			key, child, ok := branchElement(p, i)
			if !ok {
				r.t.problem("element %d of page %d is outside of it", i, id)
				return
			}
			if bytes.Compare(key, low) < 0 || i > 0 && r.last != nil && bytes.Compare(r.last, key) >= 0 {
				r.t.problem("key %d of page %d is out of order", i, id)
			}
			r.tree(bucket, child, depth+1, key)
		}
		if n == 0 {
			r.t.problem("page %d is empty", id)
		}
	default:
		r.t.problem("page %d is of kind %#x", id, flags)
	}
}

func branchElement(p []byte, i int) (key []byte, child uint64, ok bool) {
	at := pageHeader + i*elementSize
	if at+elementSize > len(p) {
		return nil, 0, false
	}
	key, ok = slice(p, uint64(at)+uint64(native.Uint32(p[at:])), uint64(native.Uint32(p[at+4:])))
	return key, native.Uint64(p[at+8:]), ok
}

func leafElement(p []byte, i int) (flags uint32, key, value []byte, ok bool) {
	at := pageHeader + i*elementSize
	if at+elementSize > len(p) {
		return 0, nil, nil, false
	}
	from, n := uint64(at)+uint64(native.Uint32(p[at+4:])), uint64(native.Uint32(p[at+8:]))
	key, okKey := slice(p, from, n)
	value, okValue := slice(p, from+n, uint64(native.Uint32(p[at+12:])))
	return native.Uint32(p[at:]), key, value, okKey && okValue
}

// slice returns p[from:from+n]; ok is false if that is out of range.
func slice(p []byte, from, n uint64) ([]byte, bool) {
	if from > uint64(len(p)) || n > uint64(len(p))-from {
		return nil, false
	}
	return p[from : from+n], true
}

// leaf reads the records of a page, or the buckets of the root where bucket is empty.
func (r *reader) leaf(bucket string, p, low []byte, depth int, where string) {
	for i := range int(native.Uint16(p[10:])) {
		flags, key, value, ok := leafElement(p, i)
		if !ok {
			r.t.problem("element %d of %s is outside of it", i, where)
			return
		}
		if bytes.Compare(key, low) < 0 || r.last != nil && bytes.Compare(r.last, key) >= 0 {
			r.t.problem("key %d of %s is out of order", i, where)
		}
		r.last = key
		switch {
		case flags != 0 && flags != flagSubBucket || (flags == flagSubBucket) != (bucket == "") && (bucket == "" || isKnown(bucket)):
			r.t.problem("element %d of %s is of kind %d", i, where, flags)
		case flags == flagSubBucket:
			name := bucket // of another program, whose buckets may be nested
			if name == "" {
				name = string(key)
				r.t.name(name)
			}
			r.subBucket(name, value, depth)
			r.last = key
		default:
			r.record(bucket, string(key), value)
		}
	}
}

func (r *reader) subBucket(name string, value []byte, depth int) {
	if depth > maxDepth {
		r.t.problem("bucket %q is too deep", clip(name))
		return
	}
	if len(value) < bucketHeader {
		r.t.problem("bucket %q has no root", clip(name))
		return
	}
	r.last = nil
	if root := native.Uint64(value); root != 0 {
		r.tree(name, root, depth+1, nil)
		return
	}
	if p := value[bucketHeader:]; len(p) < pageHeader || native.Uint16(p[8:]) != flagLeaf {
		r.t.problem("bucket %q has no page", clip(name))
	} else {
		r.leaf(name, p, nil, depth+1, fmt.Sprintf("bucket %q", clip(name)))
	}
}

func (r *reader) record(bucket, alias string, value []byte) {
	it, err := record.Unseal(bucket, alias, value)
	if err != nil {
		r.t.problem("record of %q in %s: %v", clip(alias), clip(bucket), err)
		return
	}
	if bucket == string(summaryBucket) {
		var s summary
		if err := json.Unmarshal(it.Payload, &s); err != nil || it.Write == 0 {
			r.t.problem("the summary is unreadable")
			return
		}
		if s.Format > tableFormat {
			r.t.newer = errNewer
		}
		r.t.summary = &s
		return
	}
	if r.t.records[bucket] == nil {
		return // a bucket of a later version
	}
	it.Payload = bytes.Clone(it.Payload)
	r.t.records[bucket][alias] = it
	r.unsealed = r.unsealed || it.Write == 0
	if r.sums[bucket] == nil {
		r.sums[bucket] = &tally{}
	}
	r.sums[bucket].add(it.Sum)
}

// free checks that each page is either in use or free. A page that is both would be overwritten later.
func (r *reader) free() {
	if r.meta.freelist == noFreelist {
		return
	}
	p, ok := r.page(r.meta.freelist)
	if !ok {
		return
	}
	if flags := native.Uint16(p[8:]); flags != flagFreelist {
		r.t.problem("page %d is of kind %#x, want the list of free pages", r.meta.freelist, flags)
		return
	}
	n, at := uint64(native.Uint16(p[10:])), uint64(pageHeader)
	if n == 0xffff {
		n, at = native.Uint64(p[at:]), at+8
	}
	ids, ok := slice(p, at, min(n, maxFile)*8)
	if !ok {
		r.t.problem("the list of free pages has %d of them", n)
		return
	}
	for i := range int(n) {
		id := native.Uint64(ids[i*8:])
		if id < 2 || id >= uint64(len(r.used)) || r.used[id] {
			r.t.problem("page %d is free and in use", id)
			return
		}
		r.used[id] = true
	}
	for id := 2; id < len(r.used); id++ {
		if !r.used[id] {
			r.t.problem("page %d is neither free nor in use", id)
			return
		}
	}
}

// compare checks the records against the summary. The summary may be of an earlier write if an earlier version of this
// program, which writes no summary, made later ones; then there are records without a checksum. Otherwise its page is
// outdated, which is damage.
func (r *reader) compare() {
	s := r.t.summary
	switch {
	case s == nil:
		return
	case s.Write != r.meta.write && r.unsealed:
		return
	case s.Write != r.meta.write:
		r.t.problem("the summary is of write %d, want %d", s.Write, r.meta.write)
		return
	}
	for bucket, want := range map[string]tally{string(aliasBucket): s.Aliases, string(pinBucket): s.Pins} {
		got := tally{}
		if r.sums[bucket] != nil {
			got = *r.sums[bucket]
		}
		if got != want {
			r.t.problem("%d records in %s differ from the %d in the summary", got.Count, bucket, want.Count)
		}
	}
}

// rescue searches all pages for records, reachable or not. Records of a write later than the header's always count: the
// write was interrupted, or its header was lost. In a damaged file, so do all others that the tree does not have, the latest
// of each alias.
func (r *reader) rescue() {
	size := r.meta.pageSize
	for at := 0; at+size <= len(r.b); at += size {
		p := r.b[at:]
		if native.Uint16(p[8:]) != flagLeaf {
			continue
		}
		n := min(uint64(native.Uint32(p[12:]))+1, uint64(len(p)/size))
		r.rescuePage("", p[:n*uint64(size)], 0)
	}
	if len(r.b)%size >= pageHeader { // the rest of a truncated page
		if p := r.b[len(r.b)/size*size:]; native.Uint16(p[8:]) == flagLeaf {
			r.rescuePage("", p, 0)
		}
	}
}

func (r *reader) rescuePage(bucket string, p []byte, depth int) {
	for i := range int(native.Uint16(p[10:])) {
		flags, key, value, ok := leafElement(p, i)
		switch {
		case !ok:
			continue
		case flags == flagSubBucket && depth == 0:
			if len(value) >= bucketHeader+pageHeader && native.Uint64(value) == 0 {
				r.rescuePage(string(key), value[bucketHeader:], 1)
			}
		case flags == 0 && len(key) > 0:
			r.rescueRecord(bucket, string(key), value)
		}
	}
}

func (r *reader) rescueRecord(bucket, alias string, value []byte) {
	for name, records := range r.t.records {
		if bucket != "" && bucket != name {
			continue
		}
		it, err := record.Unseal(name, alias, value)
		if err != nil || it.Write == 0 && !r.t.legacy(name, alias, it) {
			continue
		}
		have, known := records[alias]
		if it.Write > r.t.write && it.Write > have.Write || r.t.damaged() && (!known || it.Write > have.Write) {
			if have.Write != it.Write || have.Sum != it.Sum {
				it.Payload = bytes.Clone(it.Payload)
				records[alias] = it
				r.t.rescued++
			}
		}
	}
}

// legacy reports whether an unsealed record of a damaged file is a valid record of a bucket.
func (t *table) legacy(bucket, alias string, it record.Item) bool {
	if !t.damaged() {
		return false
	}
	if bucket == string(pinBucket) {
		p, err := record.DecodePin(alias, it.Payload)
		return err == nil && !p.Since.IsZero()
	}
	e, err := record.DecodeEntry(alias, it.Payload)
	return err == nil && !e.Expires.IsZero()
}
