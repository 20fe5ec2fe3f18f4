// Package etcd makes several scrapers a group by a key-value store with the semantics of etcd (package kv): it knows the members, elects
// the leader, and keeps the table of aliases and pins that they share.
//
// All is plain state machines on the loop of the host. The store comes as a kv.Store: a connection to etcd, or a simulated one.
//
// # Keys
//
//	PREFIX config                identity of the group: its public key
//	PREFIX members/ID            JSON of a member, under its lease
//	PREFIX candidates/ID/N       Nth candidacy of a member, under its lease
//	PREFIX fences/TERM/N         see below, under the lease
//	PREFIX aliases/ALIAS         record of an entry (package record)
//	PREFIX pins/ALIAS            record of a pin
//	PREFIX changes/SEQ/CHUNK     operations of a change that does not fit into one transaction
//	PREFIX changes/SEQ           number of its chunks: it makes the change take effect
//
// # Election
//
// The leader is the member whose candidate key was created first, and its term is the revision of that. A leader that leads no more removes
// its key, and stands for election with another one:
//
//	following ── the own key is the oldest ──→ leading
//	  ↑                                          │
//	  └── the lease may end soon · the key is ───┘
//	      gone · Leaving · Leave
//
// A leader stops when its lease may end within a margin, by the host's steady time. The margin (Config) is for what need not be exact:
// the announcement of the scraper's key. Writes are exact whatever clocks do, because each has the condition that the candidate key of its
// term exists.
//
// # Writes
//
// Changes are made one transaction after the other. A transaction whose answer is lost is repeated until its outcome is certain, or this
// member leads no more. A lost one could be carried out after a later one. Therefore each requires that the fence with the present number
// does not exist, and the transaction that comes after a repeated one puts that fence and requires the next number.
//
// A change that does not fit into one transaction is written to keys of its own first. The key changes/SEQ makes it durable, and lets it
// take effect: members that read the table apply it to the records that they read. Then the records are changed, and its keys are removed. A
// leader completes the changes of earlier ones before it makes or reads any.
package etcd
