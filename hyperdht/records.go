package hyperdht

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/records"
	"github.com/dhtprom/dhtprom/hyperdht/internal/rpc"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// ErrNotFound means that no node had the record.
var ErrNotFound = errors.New("hyperdht: not found")

// Peer is the record that a node stores for an announced key.
type Peer struct {
	// PublicKey is the key that was announced.
	PublicKey id.PublicKey
	// RelayAddrs are DHT nodes that lead to the key; three at most.
	RelayAddrs []netip.AddrPort
}

// Size is the number of bytes Append appends.
func (p Peer) Size() int { return wire.Peer(p).Size() }

// Append appends the record as nodes store it.
func (p Peer) Append(dst []byte) []byte { return wire.Peer(p).Append(dst) }

// MutableValue is a signed value with its sequence number.
type MutableValue struct {
	Seq       uint64 // a later value has a higher one
	Value     []byte
	Signature [64]byte // of both, by the key under which they are stored
}

// Size is the number of bytes Append appends.
func (v MutableValue) Size() int { return wire.MutableValue(v).Size() }

// Append appends the value as nodes store it.
func (v MutableValue) Append(dst []byte) []byte { return wire.MutableValue(v).Append(dst) }

// Verify reports whether the key signed the value under the sequence number.
func (v MutableValue) Verify(key id.PublicKey) bool { return wire.MutableValue(v).Verify(key) }

// Found is one node's answer to a lookup.
type Found struct {
	// From is the node that answered.
	From netip.AddrPort
	// Peers are the records it had: one for FindPeer, up to twenty for Lookup.
	Peers []Peer
	// Bump is the topic's latest bump, in milliseconds since 1970; 0 for none.
	Bump uint64
}

// FindPeer looks up the record of a server's key. found is called for each answer with the record, done at the end. As with
// all calls for records, the functions may be nil.
func (n *Node) FindPeer(key id.PublicKey, found func(Found), done func(error)) *Query {
	target := key.Target()
	return n.search(target, wire.CmdFindPeer, nil, func(r *rpc.Reply) bool {
		peer, err := wire.ParsePeer(r.Value)
		if err == nil && found != nil {
			found(Found{From: r.From, Peers: []Peer{Peer(peer)}})
		}
		return err == nil
	}, done)
}

// Lookup asks for the records that were announced on a target.
func (n *Node) Lookup(target id.Target, found func(Found), done func(error)) *Query {
	return n.search(target, wire.CmdLookup, nil, func(r *rpc.Reply) bool {
		_, err := report(r, found)
		return err == nil
	}, done)
}

func peers(from []wire.Peer) []Peer {
	list := make([]Peer, len(from))
	for i, p := range from {
		list[i] = Peer(p)
	}
	return list
}

// AnnounceOptions are the options of Announce.
type AnnounceOptions struct {
	// Relays are nodes that lead to the announced key; at most three are stored.
	Relays []netip.AddrPort
	// Bump marks the topic as changed, in milliseconds since 1970; 0 for no bump.
	Bump uint64
	// Clear removes earlier records of the key from the nodes that the lookup meets.
	Clear bool
	// Found is called for each answer of that lookup with the records that the node has, as in Lookup. It may be nil.
	Found func(Found)
}

// Announce stores a record for keys, or the node's if they are zero, on a target, at the up to twenty nodes nearest to it. done gets nil if at
// least one of them stored it.
func (n *Node) Announce(target id.Target, keys id.KeyPair, opts AnnounceOptions, done func(error)) *Query {
	keys = n.peers.keysOr(keys)
	peer := wire.Peer{PublicKey: keys.Public, RelayAddrs: opts.Relays}
	commit := func(r *rpc.Reply, settled func(error)) {
		if r.Token == nil {
			settled(rpc.ErrNoToken)
			return
		}
		sig := wire.SignAnnounce(keys, wire.Grant{Target: target, Node: r.ID, Token: *r.Token}, peer, nil)
		ann := wire.Announce{Peer: &peer, Signature: &sig, Bump: opts.Bump}
		n.storeAt(target, wire.CmdAnnounce, r, ann.Append(nil), settled)
	}
	if opts.Clear {
		return n.unannounce(target, keys, opts.Found, commit, done)
	}
	return n.query(target, wire.CmdLookup, nil, func(r *rpc.Reply) { report(r, opts.Found) }, commit, done)
}

// report calls found with the records in the answer to a lookup. It returns them, or an error if the answer is invalid.
func report(r *rpc.Reply, found func(Found)) (wire.LookupReply, error) {
	l, err := wire.ParseLookupReply(r.Value)
	if err == nil && found != nil {
		found(Found{From: r.From, Peers: peers(l.Peers), Bump: l.Bump})
	}
	return l, err
}

// keysOr returns keys, or the node's own if they are zero.
func (p *peering) keysOr(keys id.KeyPair) id.KeyPair {
	if keys.IsZero() {
		return p.cfg.Keys
	}
	return keys
}

// Unannounce removes the record of keys, or the node's if they are zero, from the nodes that a lookup of the target meets.
func (n *Node) Unannounce(target id.Target, keys id.KeyPair, done func(error)) *Query {
	return n.unannounce(target, n.peers.keysOr(keys), nil, nil, done)
}

// unannounce looks a target up and removes our record from every node that lists it, or that lists so
// many that it may have been left out (hyperdht index.js, lookupAndUnannounce).
func (n *Node) unannounce(target id.Target, keys id.KeyPair, found func(Found), commit commitFunc, done func(error)) *Query {
	n.store.Unannounce(target, keys.Public)
	peer := wire.Peer{PublicKey: keys.Public}
	var finished error
	requests := host.NewJoin(func() {
		if done != nil {
			done(finished)
		}
	})
	over := requests.Add()
	q := n.query(target, wire.CmdLookup, nil, func(r *rpc.Reply) {
		l, err := report(r, found)
		if err != nil || r.Token == nil || !r.HasID {
			return
		}
		ours := slices.ContainsFunc(l.Peers, func(p wire.Peer) bool { return p.PublicKey == keys.Public })
		if !ours && len(l.Peers) < maxLookupPeers {
			return
		}
		sig := wire.SignUnannounce(keys, wire.Grant{Target: target, Node: r.ID, Token: *r.Token}, peer, nil)
		ann := wire.Announce{Peer: &peer, Signature: &sig}
		settle := requests.Add()
		n.storeAt(target, wire.CmdUnannounce, r, ann.Append(nil), func(error) { settle() })
	}, commit, func(err error) {
		finished = err
		over()
	})
	return q
}

// maxLookupPeers is the most records of a lookup reply (hyperdht lib/persistent.js).
const maxLookupPeers = 20

// ImmutablePut stores a value at the nodes nearest to its hash. Up to a kilobyte fits the datagram of a request; for a value
// that does not, done gets ErrTimeout, since no node receives it.
func (n *Node) ImmutablePut(value []byte, done func(id.Target, error)) *Query {
	target := id.Target(id.Hash(value))
	commit := func(r *rpc.Reply, settled func(error)) {
		n.storeAt(target, wire.CmdImmutablePut, r, value, settled)
	}
	return n.query(target, wire.CmdImmutableGet, nil, nil, commit, func(err error) {
		if done != nil {
			done(target, err)
		}
	})
}

// ImmutableGet fetches the value with a hash. done gets ErrNotFound if no node had it.
func (n *Node) ImmutableGet(target id.Target, done func([]byte, error)) *Query {
	if done == nil {
		done = func([]byte, error) {}
	}
	var q *Query
	answered := false
	q = n.search(target, wire.CmdImmutableGet, nil, func(r *rpc.Reply) bool {
		if !answered && id.Target(id.Hash(r.Value)) == target {
			answered = true
			q.Destroy()
			done(r.Value, nil)
		}
		return answered
	}, func(err error) {
		if !answered {
			answered = true
			done(nil, orNotFound(err))
		}
	})
	return q
}

// MutablePut stores a value, signed with keys or the node's if they are zero, under the hash of their public key. Nodes reject a sequence number below the stored
// one, and another value under the same one; done gets a *RefusedError then. The size is limited as in ImmutablePut.
func (n *Node) MutablePut(keys id.KeyPair, seq uint64, value []byte, done func(MutableValue, error)) *Query {
	keys = n.peers.keysOr(keys)
	target := keys.Public.Target()
	signed := wire.SignMutable(keys, seq, value)
	put := wire.MutablePut{PublicKey: keys.Public, MutableValue: signed}
	commit := func(r *rpc.Reply, settled func(error)) {
		n.storeAt(target, wire.CmdMutablePut, r, put.Append(nil), settled)
	}
	get := wire.MutableGet{}
	return n.query(target, wire.CmdMutableGet, get.Append(nil), nil, commit, func(err error) {
		if done != nil {
			done(MutableValue(signed), err)
		}
	})
}

// MutableGetOptions are the options of MutableGet; the zero value finds the latest value.
type MutableGetOptions struct {
	// MinSeq is the lowest sequence number of a value that counts.
	MinSeq uint64
	// First ends the search with the first value that is valid: it is faster, and nodes may have a later value.
	First bool
	// Refresh reports whether to store the value again at the nodes nearest to its target, which keep it for another two days then; it
	// takes no key. It is called once with the value found, before done. Nil is never. With First it is not called.
	Refresh func(MutableValue) bool
}

// MutableGet fetches the value of a key with the highest sequence number, whose signature it verifies. done gets ErrNotFound if no node
// had one.
func (n *Node) MutableGet(key id.PublicKey, opts MutableGetOptions, done func(MutableValue, error)) *Query {
	if done == nil {
		done = func(MutableValue, error) {}
	}
	g := &mutableGet{n: n, key: key, opts: opts}
	cfg := rpc.QueryConfig{
		Target: key.Target(), Command: wire.CmdMutableGet, Value: wire.MutableGet{Seq: opts.MinSeq}.Append(nil),
		Found: func() bool { return g.best != nil },
	}
	if opts.Refresh != nil {
		cfg.Commit = g.refresh
	}
	g.query = n.run(cfg, g.receive, func(err error) {
		if g.best == nil {
			done(MutableValue{}, orNotFound(err))
			return
		}
		done(MutableValue(*g.best), nil)
	})
	return g.query
}

// mutableGet is a search for the value of a key.
type mutableGet struct {
	n     *Node
	key   id.PublicKey
	opts  MutableGetOptions
	query *Query
	best  *wire.MutableValue // so far
	put   []byte             // the request that stores it again; nil for none
	asked bool               // whether to store it again
}

// receive takes a node's answer.
func (g *mutableGet) receive(r *rpc.Reply) {
	v, err := wire.ParseMutableValue(r.Value)
	if err != nil || v.Seq < g.opts.MinSeq || g.best != nil && v.Seq <= g.best.Seq || !v.Verify(g.key) {
		return
	}
	v.Value = slices.Clone(v.Value)
	g.best = &v
	if g.opts.First {
		g.query.Destroy()
	}
}

// refresh stores the value at one of the nearest nodes, if the application wants that.
func (g *mutableGet) refresh(r *rpc.Reply, settled func(error)) {
	if !g.asked {
		g.asked = true
		if g.best != nil && g.opts.Refresh(MutableValue(*g.best)) {
			g.put = wire.MutablePut{PublicKey: g.key, MutableValue: *g.best}.Append(nil)
		}
	}
	if g.put == nil {
		settled(nil)
		return
	}
	g.n.storeAt(g.key.Target(), wire.CmdMutablePut, r, g.put, settled)
}

func orNotFound(err error) error {
	if err == nil {
		return ErrNotFound
	}
	return err
}

type commitFunc = func(r *rpc.Reply, settled func(error))

// query runs a lookup. found gets the successful answers that carry a value.
func (n *Node) query(target id.Target, command uint64, value []byte, found func(*rpc.Reply), commit commitFunc, done func(error)) *Query {
	return n.run(rpc.QueryConfig{Target: target, Command: command, Value: value, Commit: commit}, found, done)
}

// search runs a lookup for a record or value. found gets the successful answers that carry a value, and reports whether the search
// has succeeded; until then the search waits for slow nodes, too.
func (n *Node) search(target id.Target, command uint64, value []byte, found func(*rpc.Reply) bool, done func(error)) *Query {
	succeeded := false
	cfg := rpc.QueryConfig{Target: target, Command: command, Value: value, NearestFirst: true, Found: func() bool { return succeeded }}
	return n.run(cfg, func(r *rpc.Reply) { succeeded = found(r) || succeeded }, done)
}

// run starts a lookup with the callbacks of a public call.
func (n *Node) run(cfg rpc.QueryConfig, found func(*rpc.Reply), done func(error)) *Query {
	cfg.OnDone = func(err error) {
		if done != nil {
			done(publicError(err))
		}
	}
	cfg.OnReply = func(r *rpc.Reply) {
		if found != nil && r.Value != nil {
			found(r)
		}
	}
	return &Query{n.rpc.Query(cfg)}
}

// storeAt sends a value to the node that sent r, with the token from that reply.
func (n *Node) storeAt(target id.Target, command uint64, r *rpc.Reply, value []byte, settled func(error)) {
	if r.Token == nil {
		settled(rpc.ErrNoToken)
		return
	}
	n.rpc.Request(rpc.RequestOptions{To: r.From, Command: command, Target: &target, Token: r.Token, Value: value}, func(a rpc.Reply, err error) {
		if err == nil && a.Error != wire.CodeNone {
			err = &RefusedError{Code: a.Error}
		}
		settled(err)
	})
}

// RefusedError is a node's refusal to store something.
type RefusedError struct {
	// Code is the error code of the answer: 16 for a sequence number that was used for another value, 17 for one
	// that is too low (hyperdht lib/constants.js).
	Code uint64
}

func (e *RefusedError) Error() string {
	switch e.Code {
	case wire.CodeSeqReused:
		return "hyperdht: refused: the sequence number is in use for another value"
	case wire.CodeSeqTooLow:
		return "hyperdht: refused: the sequence number is lower than the stored one"
	}
	return fmt.Sprintf("hyperdht: refused with code %d", e.Code)
}

// serve answers a storage command, as persistent nodes do.
func (n *Node) serve(r *rpc.Request, self id.NodeID) {
	turn := records.Turn{Self: self, Now: n.host.Now(), Rand: n.host.Rand()}
	if n.cfg.WallClock != nil {
		turn.WallMillis = n.cfg.WallClock().UnixMilli()
	}
	a := n.store.Handle(turn, records.Request{
		Command: r.Command, From: r.From, Target: r.Target, Token: r.Token, Value: r.Value,
	})
	opts := rpc.ReplyOptions{NoToken: a.NoToken, NoCloser: a.NoCloser}
	switch {
	case a.Drop:
	case a.Error != wire.CodeNone:
		opts.Token = !a.NoToken
		r.Error(a.Error, opts)
	default:
		r.Reply(a.Value, opts)
	}
}
