// Package records is what a persistent node keeps for others: who announced where, the records of
// topics, signed and unsigned values (hyperdht lib/persistent.js, and the entries of lib/router.js).
//
// A [Store] is a function of its state, the time and one request: [Store.Handle] returns the answer
// and sends nothing. What it keeps is soft state in pairs of generations, as the original does with
// record-cache and xache:
//
//	         add, read*                  tick, or full
//	──────▶ ┌────────┐ ───────────────▶ ┌────────┐ ───────────▶ forgotten
//	        │ fresh  │                  │ stale  │  next tick, or full again
//	        └────────┘ ◀─────────────── └────────┘
//	                    add again, read*
//
// A tick comes every 2/3 of a store's age, so an entry that nobody touches lives for 2/3 to 4/3 of it.
// Reading (*) keeps an entry alive everywhere but among topic records, which are for their announcers
// to keep alive. A full generation makes room early, so that a flood shortens lives and cannot take
// more memory.
//
// Entries of servers that run on this very node are pinned beside the generations: they do not age,
// and no announcement from outside replaces them.
package records
