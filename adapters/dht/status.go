package dht

import (
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/ports"
)

// Status implements ports.Transport.
func (t *Transport) Status() ports.NodeStatus {
	if t.down {
		return ports.NodeStatus{State: stateClosed}
	}
	s := t.node.Status()
	out := ports.NodeStatus{
		State:      stateOf(s, t.closing),
		Firewalled: s.Firewalled,
		Ephemeral:  s.Ephemeral,
		NAT:        natOf(s),
		Local:      s.Local,
		Nodes:      s.Nodes,
		Announced:  s.Announced,
		Streams:    s.Connections,
		InReserve:  s.Peering.SecondWays,
		Counters:   slices.Concat(countersOf(s), t.answers.counters(), t.sets.counters(), t.mapping.counters()),
	}
	switch {
	case !s.Local.IsValid():
	case s.Local.Addr().IsUnspecified():
		for _, ip := range t.host.Addrs() {
			out.Addrs = append(out.Addrs, netip.AddrPortFrom(ip, s.Local.Port()))
		}
	default:
		out.Addrs = []netip.AddrPort{s.Local}
	}
	if s.Public.IsValid() && s.Public.Port() != 0 {
		out.PublicAddr = s.Public
	}
	out.Known = t.public.current()
	out.Mapping = t.mapping.status()
	return out
}

const stateClosed = "closed"

func stateOf(s hyperdht.Status, closing bool) string {
	switch {
	case closing:
		return stateClosed
	case !s.Ready && s.Nodes == 0 && !s.Silent: // records may be announced, and peers met, before bootstrapping is complete
		return "starting"
	case !s.Online, s.Silent, s.Nodes == 0:
		return "offline"
	case s.Degraded:
		return "degraded"
	}
	return "online"
}

// natOf classifies the NAT by the addresses that other nodes report: all the same, or with different ports.
func natOf(s hyperdht.Status) string {
	switch {
	case !s.Public.IsValid():
		return "unknown"
	case !s.Firewalled:
		return "open"
	case s.Public.Port() == 0:
		return "random"
	}
	return "consistent"
}

func countersOf(s hyperdht.Status) []ports.Counter {
	punches := func(kind, result string, n uint64) ports.Counter {
		return ports.Counter{
			Name: "holepunch_results", Help: "Finished hole punches.", Value: n,
			Labels: []ports.Label{{Name: "kind", Value: kind}, {Name: "result", Value: result}},
		}
	}
	unproven := func(reason string, n uint64) ports.Counter {
		return ports.Counter{
			Name: "unproven_connections_closed", Help: "Connections closed because their peer exceeded a memory limit before it had proven its key.",
			Value: n, Labels: []ports.Label{{Name: "reason", Value: reason}},
		}
	}
	p := s.Peering
	refused := func(reason string, n uint64) ports.Counter {
		return ports.Counter{
			Name: "handshakes_refused", Help: "Handshakes dropped at a limit.", Value: n,
			Labels: []ports.Label{{Name: "reason", Value: reason}},
		}
	}
	return []ports.Counter{
		punches("consistent", "won", p.PunchesConsistentWon), punches("consistent", "lost", p.PunchesConsistentLost),
		punches("random", "won", p.PunchesRandomWon), punches("random", "lost", p.PunchesRandomLost),
		{Name: "udx_streams_opened", Help: "UDX streams opened.", Value: s.Streams.Opened},
		{Name: "udx_packets_received", Help: "Packets of UDX streams received.", Value: s.Streams.Packets},
		{Name: "udx_retransmissions", Help: "Packets of UDX streams retransmitted.", Value: s.Streams.Retransmits},
		{Name: "udx_black_holes", Help: "UDX streams closed because their path began to drop large packets.", Value: s.Streams.BlackHoles},
		{Name: "relay_aborts", Help: "Blind relays that were not reached or did not pair.", Value: p.RelayAborts},
		{Name: "dht_queries", Help: "Iterative queries started.", Value: s.RPC.Queries.Total},
		{Name: "dht_requests", Help: "DHT requests sent, retries not counted.", Value: s.RPC.Requests.Total},
		{Name: "dht_request_retries", Help: "DHT requests sent again.", Value: s.RPC.Requests.Retries},
		{Name: "dht_request_timeouts", Help: "DHT requests without a response.", Value: s.RPC.Requests.Timeouts},
		{Name: "dht_received_requests", Help: "DHT requests received.", Value: s.RPC.Received.Requests},
		{Name: "dht_received_responses", Help: "DHT responses received.", Value: s.RPC.Received.Responses},
		{Name: "dht_dropped_datagrams", Help: "Datagrams dropped.", Value: s.RPC.Dropped.Unusable + s.RPC.Dropped.Malformed + s.RPC.Dropped.Unexpected + s.RPC.Dropped.Busy + s.RPC.Dropped.Limited},
		{Name: "connections_opened", Help: "Encrypted connections that found a path.", Value: s.Peering.ConnectionsOpened},
		{Name: "connections_closed", Help: "Encrypted connections closed.", Value: s.Peering.ConnectionsClosed},
		{Name: "connections_broken", Help: "Encrypted connections closed after data that could not be decrypted, did not end or exceeded a limit.", Value: s.Peering.ConnectionsBroken},
		{Name: "handshake_answers_withheld", Help: "Answers to handshakes and punch rounds not sent, because they exceeded three times the caller's bytes.", Value: p.AnswersWithheld},
		unproven("message", p.UnprovenTooLong), unproven("memory", s.Streams.OverLimit), unproven("total", s.Streams.Shed),
		{Name: "handshakes_blocked", Help: "Handshakes refused by a server's firewall.", Value: s.Peering.HandshakesBlocked},
		refused("address", p.Refused.Address), refused("network", p.Refused.Network), refused("queue", p.Refused.Queue), refused("relays", p.Refused.Relays),
		refused("sender", p.Refused.Sender), refused("share", p.Refused.Share), refused("socket", p.Refused.Socket),
		{Name: "handshakes_read", Help: "Handshakes for which a Diffie-Hellman operation was performed.", Value: s.Peering.HandshakesRead},
		{Name: "handshakes_invalid", Help: "Handshakes that could not be read.", Value: s.Peering.HandshakesInvalid},
		{Name: "holepunch_consistent", Help: "Hole punches between NATs with consistent ports.", Value: s.Peering.PunchesConsistent},
		{Name: "holepunch_random", Help: "Hole punches against a NAT with random ports.", Value: s.Peering.PunchesRandom},
		{Name: "holepunch_open", Help: "Connections to or from an open address.", Value: s.Peering.PunchesOpen},
		{Name: "nat_drifts", Help: "Hole punches lost because this node's NAT had mapped the socket to another port than peers were given. Ports are guessed for the next ten minutes.", Value: p.NATDrifts},
		{Name: "holepunch_later", Help: "Hole punches postponed because another one that guesses ports is running or has recently ended.", Value: s.Peering.PunchesLater},
		{Name: "relay_attempts", Help: "Blind relays asked to carry a connection.", Value: s.Peering.RelayAttempts},
		{Name: "relay_successes", Help: "Connections that a blind relay carried.", Value: s.Peering.RelaySuccesses},
		{Name: "relay_refusals", Help: "Connections that a blind relay rejected or ended with a reason.", Value: s.Peering.RelayRefusals},
		{Name: "path_changes", Help: "Connections that changed to a path of another kind.", Value: s.Peering.PathChanges},
		{Name: "path_takeovers", Help: "Connections that a blind relay, kept in reserve, took over because the direct path was silent, lost much or was slow.", Value: p.TakeOvers},
		{Name: "state_errors", Help: "Invalid transitions between states of connections. More than none is a bug.", Value: p.WrongTransitions},
		{Name: "relay_upgrades", Help: "Connections that left a blind relay for a direct path.", Value: s.Peering.RelayUpgrades},
	}
}
