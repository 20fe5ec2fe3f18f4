package hyperdht

// PeeringStats are the counters of connection attempts and connections since the node started.
type PeeringStats struct {
	HandshakesInvalid  uint64  // undecodable, or sealed with other keys
	HandshakesBlocked  uint64  // refused by a server's firewall
	HandshakesRead     uint64  // given a Diffie-Hellman operation
	Refused            Refused // dropped at a limit
	AnswersWithheld    uint64  // to handshakes and punch rounds, which would have been more than the caller's bytes allow
	HolepunchesInvalid uint64  // messages that could not be read
	PunchesOpen        uint64  // connections to or from an open address, which need none
	PunchesConsistent  uint64  // between two NATs that keep a socket's port
	PunchesRandom      uint64  // against a NAT that gives a socket many ports, or from behind one
	PunchesLater       uint64  // peers that had to wait because another random punch ran or had just ended
	// How punches ended. The rest are still running, or another path was found first.
	PunchesConsistentWon, PunchesConsistentLost uint64
	PunchesRandomWon, PunchesRandomLost         uint64

	NATDrifts         uint64    // punches lost because our NAT had changed the address of the socket
	PathsLAN          uint64    // dials that led to a path within one network
	PathChanges       uint64    // of open connections, to a path of another kind
	RelayAttempts     uint64    // blind relays asked to carry a connection
	RelaySuccesses    uint64    // connections that got onto a relay
	RelayAborts       uint64    // relays that were not reached or did not pair
	RelayRefusals     uint64    // relays that gave a reason for not pairing, or for ending a pair
	RelayUpgrades     uint64    // connections that left a relay for a direct path
	SecondWays        int       // relays that are kept in reserve beside a direct path, and that answer
	TakeOvers         uint64    // of a direct path that was silent, lost much or was slow, by a relay in reserve
	SessionsAborted   uint64    // callers that were answered, and no path was found
	MappingsChanged   uint64    // times that a relay saw a server of this node at another address than before
	ConnectionsOpened uint64    // that found a path
	ConnectionsClosed uint64    // of them
	ConnectionsBroken uint64    // closed after a decryption error, or within a message that did not end
	UnprovenTooLong   uint64    // of them, because of a message that is too long for an unproven peer
	WrongTransitions  uint64    // state transitions that no table lists: a bug of this package
	Pool              PoolStats // sockets for hole punching
}

// Refused counts the handshakes that were dropped at a limit, by the limit.
type Refused struct {
	Socket  uint64 // the pace of the caller's socket
	Address uint64 // the pace of the caller's address
	Network uint64 // the pace of the caller's network
	Sender  uint64 // the pace of a sender to which the server did not announce
	Relays  uint64 // the pace of all such senders
	Queue   uint64 // too many waited, or one too long
	Share   uint64 // held, and dropped in favour of another one
	// Undecided counts those of Share that waited for a decision of ListenOptions.AdmitLater.
	Undecided uint64
}

// PoolStats counts pool sockets.
type PoolStats struct {
	Opened, Closed uint64
}

// RPCStats counts the DHT messages of a node since it started.
type RPCStats struct {
	// Queries are lookups: Active run now.
	Queries struct{ Active, Total uint64 }
	// Requests are requests of this node: Active wait for an answer, Timeouts had none after all retries.
	Requests struct{ Active, Total, Responses, Timeouts, Retries uint64 }
	// Commands are requests of this node that maintain the routing table, and their answers: PING, PING_NAT, FIND_NODE,
	// DELAYED_PING.
	Commands [4]struct{ Sent, Received uint64 }
	// Well-formed messages.
	Received struct{ Requests, Responses uint64 }
	// Dropped are dropped datagrams, by reason.
	Dropped struct {
		Unusable   uint64 // too short, no DHT message, or from an address that cannot be answered
		Malformed  uint64
		Unexpected uint64 // responses to no pending request
		Busy       uint64 // delayed pings above our limit
		Limited    uint64 // requests of a host beyond its pace
	}
}

// StreamStats counts the UDX streams of a node since it started.
type StreamStats struct {
	Opened, Closed uint64 // streams
	Packets        uint64 // packets of streams
	Refused        uint64 // packets for a stream from another address than its peer's
	Relayed        uint64 // packets passed on
	RelayDropped   uint64 // packets for a leg that is not connected yet
	Lingered       uint64 // last acknowledgements repeated for closed streams
	OverLimit      uint64 // streams of unproven peers that held too much
	Shed           uint64 // streams that ended because all unproven peers together held too much
	Retransmits    uint64 // packets sent again, by closed streams too
	BlackHoles     uint64 // streams that ended because their path drops large packets
}
