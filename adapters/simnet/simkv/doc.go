// Package simkv is a simulated etcd: a key-value store that hosts of a simulated net share.
//
// The cluster is one object outside of the net's hosts. Transactions are linearizable, since each is carried out in one event; requests,
// answers and reports of watches take times that the seed decides. Each host has connections of its own, which behave as those of
// adapters/etcd/client:
//
//	cluster := simkv.New(net, simkv.Config{Delay: simnet.Distribution{Shape: simnet.Uniform, Scale: 4 * time.Millisecond}})
//	store := cluster.Connect(host)
//
// # Faults
//
// A host that is cut off (Cut) has messages under way held back, as TCP does, until it is joined again or, after some seconds, its
// connection breaks. Requests that were under way then are uncertain; later ones are unavailable.
//
// A cluster without a leader (Stop) carries out nothing. Requests that arrive before it notices are carried out when there is a leader
// again, or never; later ones are rejected. Leases do not expire meanwhile, and the next leader gives each its whole time-to-live, as
// etcd does.
//
// Compact removes the history: watches that are behind are lost. Leases expire by the store's clock, which may drift. Requests and answers
// are lost with probabilities (Config).
package simkv
