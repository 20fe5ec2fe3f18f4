package simnet

import "time"

// Chosen by us: defaults of machines and networks.
const (
	// internetHops is the number of hops between two public hosts. Hole punching opens NATs with a TTL of 5 (hyperdht
	// lib/holepuncher.js), which must not get through.
	internetHops = 10
	// lanHops is one: neighbours on a LAN have no router between them.
	lanHops = 1
	// defaultMTU is Ethernet's, in bytes of an IP packet.
	defaultMTU = 1500
	// loopbackMTU is Linux's, in bytes of an IP packet.
	loopbackMTU = 65536
	// loopbackDelay is the delay of a datagram to the sending machine itself.
	loopbackDelay = 20 * time.Microsecond
	// lanDelay is the default delay of a LAN.
	lanDelay = 300 * time.Microsecond
	// headers4 and headers6 are the bytes of IP and UDP headers that count against an MTU.
	headers4 = 28
	headers6 = 48
	// bootTime is the first value of Host.Now. It is not 0, so that 0 is never a valid time.
	bootTime = time.Second
	// receiveBuffer bounds the datagrams queued at a slow machine, in bytes of IP packets: Linux's default.
	receiveBuffer = 208 << 10
	// lookupDelay is the time until LookupHost answers.
	lookupDelay = 5 * time.Millisecond
	// computeDelay bounds the time that most computations take, as a handshake's on a machine that is not busy, and computeLateDelay
	// that of the others, of which computeLate is the share.
	computeDelay     = time.Millisecond
	computeLateDelay = 50 * time.Millisecond
	computeLate      = 1.0 / 16
	// jitterWindow is the shortest time in which the jitter of a link moves from one drawn value to the next.
	jitterWindow = 20 * time.Millisecond
	// mostForm bounds the form of a distribution: beyond, all values are the same or 0 or the bound.
	mostForm = 100
	// lateDefault is the default of Link.Late.
	lateDefault = 10 * time.Millisecond
	// staleDefault is the default of Link.Stale.
	staleDefault = time.Minute
	// burstDefault is the default of Link.BurstFor.
	burstDefault = 200 * time.Millisecond
	// queueDefault is the default of Link.Queue for a link with a bandwidth, in bytes.
	queueDefault = 64 << 10
	// ephemeralFirst and ephemeralLast bound the ports given to sockets that ask for none (RFC 6335).
	ephemeralFirst = 49152
	ephemeralLast  = 65535
	// natFirstPort and natLastPort are the default bounds of public ports: Linux leaves those below 1024 alone.
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
	// natDraws is the number of random draws of a port before all are tried in turn.
	natDraws = 32
	// leastShare is the minimum severity of the worst-affected node's link or clock.
	leastShare = 0.2
	// firstTries is the number of attempts within Faults.Lasts of a fault that has not struck yet.
	firstTries = 50
	// immense is a bandwidth in bytes a second that is too high to have an effect.
	immense = 1 << 30
	// farthest is the longest timer, a century: sums with it do not overflow.
	farthest = 100 * 365 * 24 * time.Hour
	// stillLimit is the number of events at one instant that is taken for an endless loop.
	stillLimit = 20_000_000
	// spareDatagrams bounds the datagrams that a lane keeps to use them again: those that it sends to others do not come back.
	spareDatagrams = 1 << 16
	// scribble overwrites borrowed buffers after the turn, in debug runs.
	scribble = 0xdb
)
