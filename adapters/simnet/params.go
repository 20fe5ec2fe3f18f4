package simnet

import "time"

// Chosen by us: what a machine and a network look like where a scenario does not care.
const (
	// internetHops is how many hops lie between two public hosts. Hole punching opens NATs with a TTL of
	// 5 (hyperdht lib/holepuncher.js), which must not get through.
	internetHops = 10
	// lanHops is one: neighbours on a LAN have no router between them.
	lanHops = 1
	// defaultMTU is Ethernet's, in bytes of an IP packet.
	defaultMTU = 1500
	// loopbackMTU is Linux's, in bytes of an IP packet.
	loopbackMTU = 65536
	// loopbackDelay is how long a datagram to the own machine takes.
	loopbackDelay = 20 * time.Microsecond
	// lanDelay is the delay of a LAN whose link was left to us.
	lanDelay = 300 * time.Microsecond
	// headers4 and headers6 are the bytes of IP and UDP headers that count against an MTU.
	headers4 = 28
	headers6 = 48
	// bootTime is what Host.Now starts at: a machine is never asked before it has booted, and so zero
	// never is a time.
	bootTime = time.Second
	// receiveBuffer is how much waits for a slow machine, in bytes of IP packets: Linux's default.
	receiveBuffer = 208 << 10
	// lookupDelay is how long an answer to LookupHost takes.
	lookupDelay = 5 * time.Millisecond
	// jitterWindow is the least time in which the jitter of a link moves from one drawn value to the next.
	jitterWindow = 20 * time.Millisecond
	// mostForm bounds the form of a distribution: beyond, all values are the same or 0 or the bound.
	mostForm = 100
	// lateDefault is how late the reordered and duplicated come where the link does not say.
	lateDefault = 10 * time.Millisecond
	// staleDefault is how late an old datagram comes again where the link does not say.
	staleDefault = time.Minute
	// burstDefault is how long a loss burst lasts where the link does not say.
	burstDefault = 200 * time.Millisecond
	// queueDefault is the queue of a link with a bandwidth, in bytes, where the link does not say.
	queueDefault = 64 << 10
	// ephemeralFirst and ephemeralLast bound the ports given to sockets that ask for none (RFC 6335).
	ephemeralFirst = 49152
	ephemeralLast  = 65535
	// natFirstPort and natLastPort bound public ports where a NAT does not say: Linux leaves those below 1024 alone.
	natFirstPort = 1024
	natLastPort  = 65535
	// natLifetime is the least that RFC 4787 asks for (REQ-5).
	natLifetime = 2 * time.Minute
	// linuxStream, linuxUnreplied and linuxYoung are Linux's: nf_conntrack_udp_timeout_stream, nf_conntrack_udp_timeout, and
	// how old an answered session must be to be called a stream (net/netfilter/nf_conntrack_proto_udp.c).
	linuxStream    = 2 * time.Minute
	linuxUnreplied = 30 * time.Second
	linuxYoung     = 2 * time.Second
	// natSize is the table of a good home router, and far more than one DHT node fills.
	natSize = 65536
	// natDraws is how often a random port is drawn before all are looked at in turn.
	natDraws = 32
	// leastShare is how much of a bad link or clock the one has at least who has most of it.
	leastShare = 0.2
	// firstTries is how often a fault that has not struck yet tries to in the time that it has.
	firstTries = 50
	// immense is a bandwidth in bytes a second that nobody notices.
	immense = 1 << 30
	// farthest is the longest timer, a century: sums with it do not overflow.
	farthest = 100 * 365 * 24 * time.Hour
	// stillLimit is how many events may happen at one instant before we call it an endless loop.
	stillLimit = 20_000_000
	// scribble is what a borrowed buffer is overwritten with after the turn, in debug runs.
	scribble = 0xdb
)
