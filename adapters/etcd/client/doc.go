// Package client implements the port of a key-value store (package kv) with etcd, from version 3.4 on.
//
// State belongs to the loop. A request runs in a goroutine that posts its outcome:
//
//	loop: Commit → wait for one of maxCalls → goroutine: attempt, attempt... → loop: done
//
// At most maxCalls transactions and lists are under way, and maxWaiting wait for them; further ones fail. Besides, each watch has a
// goroutine, which waits for the loop after each report, so that a slow loop slows the store's sender, and each lease has one while a
// request for it is under way.
//
// # What became of a transaction
//
// A request that was certainly not carried out is sent again, to another member of the cluster, within the 5 seconds that a call takes at
// most: one that no connection took (which gRPC reports, see sentHandler), and one that a member rejected because it has no leader. A
// transaction that was sent and has no answer is uncertain. Reads are always repeated.
//
// # Leases
//
// A member that leads no more does not know that yet: it renews leases that its successor lets expire (etcd 3.4). So each renewal is
// confirmed by a read, which takes a majority, in the same term.
//
// # Connections
//
// The library go.etcd.io/etcd/client/v3 balances over connections to all endpoints. Its own repetitions, logs, tokens and watches are not
// used: they hide what is uncertain, whether a watch is connected, and authenticate for each stream, and its watches buffer without a
// bound.
package client
