package swarm

import (
	"errors"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// Errors of swarms, to be matched with errors.Is.
var (
	// ErrClosed is returned by calls of a closed swarm, and ends its connections.
	ErrClosed = errors.New("swarm: closed")
	// ErrSuspended ends the connections and flushes of a swarm that is suspended.
	ErrSuspended = errors.New("swarm: suspended")
	// ErrLeft is returned by calls of a session that has left its topic.
	ErrLeft = errors.New("swarm: the session has left its topic")
	// ErrTooManyTopics is returned by Join beyond 1,024 topics.
	ErrTooManyTopics = errors.New("swarm: too many topics")
	// ErrDuplicate ends a connection in favour of another one with the same peer.
	ErrDuplicate = errors.New("swarm: duplicate connection")
	// ErrBanned ends the dial to a peer that is banned meanwhile.
	ErrBanned = errors.New("swarm: banned peer")
)

// Config is the configuration of a Swarm. The zero Config suits most.
type Config struct {
	// Keys is the identity of the swarm, in its connections and in the records of its topics. The zero value draws a random one.
	Keys id.KeyPair
	// MaxPeers is the number of connections at which peers that were found under topics are no longer dialled; 0 means 64. Peers of
	// JoinPeer are dialled all the same.
	MaxPeers int
	// MaxParallel is the number of dials at a time; 0 means 3.
	MaxParallel int
	// MaxIncoming is the number of connections from other peers' dials at which further callers are rejected; 0 means 256.
	MaxIncoming int
	// Admit reports whether connections with a key may be made, in either direction; nil admits all. It is asked before each dial,
	// and for each caller before its handshake is answered. Banned keys are rejected without it. It may call Ban, LeavePeer, Suspend and
	// Close, but not JoinPeer of the key that it is asked about, which asks it again.
	Admit func(remote id.PublicKey) bool
	// RelayThrough are blind relays, one of which carries a connection while there is no direct path.
	RelayThrough []id.PublicKey
	// Paths limits the paths that connections may take.
	Paths hyperdht.PathRule
	// KeepLimited keeps incoming connections limited after they have opened, until Connection.Trust.
	KeepLimited bool

	// OnConnection is called for each connection when it has opened, whichever side has dialled. Handlers of the connection that
	// are set in it miss nothing; its OnOver is the swarm's. One that replaces another connection with the peer is reported before
	// the OnClose of that one, which is Closed then. Without OnConnection, connections are destroyed.
	OnConnection func(*hyperdht.Connection, Peer)
	// OnTopic is called when a connected peer is found under a further topic. It may be nil.
	OnTopic func(Peer, id.Target)
	// OnClose is called when the swarm is closed: by Close, or because its node is. It may be nil.
	OnClose func()
	// OnUpdate is called at the end of a turn in which the numbers of Status have changed. It may be nil.
	OnUpdate func()
}

// fill sets the fields that are zero.
func (c Config) fill() Config {
	for _, f := range []struct {
		field *int
		value int
	}{{&c.MaxPeers, defaultMaxPeers}, {&c.MaxParallel, defaultMaxParallel}, {&c.MaxIncoming, defaultMaxIncoming}} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	return c
}

// Mode selects the roles in which a topic is joined.
type Mode uint8

// The modes of a topic. Connections form between servers and clients, so two peers find each other unless both are clients alone, or
// both servers alone.
const (
	// ServerAndClient announces this peer under the topic, and looks others up.
	ServerAndClient Mode = iota
	// ServerOnly announces this peer, and waits for others.
	ServerOnly
	// ClientOnly looks others up and connects to them. The swarm does not listen if all its topics are joined so.
	ClientOnly
)

func (m Mode) server() bool { return m != ClientOnly }
func (m Mode) client() bool { return m != ServerOnly }

// JoinOptions are the options of a topic. Several sessions of a topic add up: it has the roles of all of them.
type JoinOptions struct {
	// Mode selects the roles.
	Mode Mode
	// Limit is the number of peers of the topic at which further ones are not taken; 0 means no limit but that of the swarm. The
	// latest session's holds.
	Limit int
}
