// Package records is the storage of a persistent node for others: the addresses of announced servers, the records of
// topics, signed and unsigned values (hyperdht lib/persistent.js, and the entries of lib/router.js).
//
// A [Store] is a function of its state, the time and one request: [Store.Handle] returns the answer
// and sends nothing. What it keeps is soft state in pairs of generations, as the reference implementation does with
// record-cache and xache:
//
// An entry is added to the fresh generation. With a tick, or when the fresh generation is full, it becomes the stale one, and
// the previous stale one is dropped. The entry that fills a generation is stale at once. An entry added again
// or read is fresh again.
//
// A tick comes every 2/3 of a store's age, so an unused entry lives for 2/3 to 4/3 of it.
// Reading keeps an entry alive everywhere but among topic records, which are for their announcers
// to keep alive. A full generation makes room early, so that a flood shortens lives and cannot take
// more memory.
//
// Entries of servers that run on this very node are pinned beside the generations: they do not age,
// and no announcement from outside replaces them.
//
// # States
//
// The states of an entry, how long each may last, and those that may follow. A test holds the list against what the code does. A
// final state has no limit and no successor.
//
// Entry:
//
//	absent  -       ──▶ fresh, stale
//	        (no limit: until it is added)
//	fresh   -       ──▶ stale, absent
//	        (no limit: until the second tick at the latest, or the generation is full)
//	stale   -       ──▶ fresh, absent
//	        (no limit: likewise, unless it is added again or, among others than topic records, read)
package records
