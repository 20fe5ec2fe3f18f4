package turn

import "time"

// Fixed by the protocol.
const (
	// firstTimeout before a request over UDP is repeated; it doubles each time (RFC 8489, section 6.2.1).
	firstTimeout = 500 * time.Millisecond
	// defaultPort of a TURN server over UDP (RFC 8656, section 3.1).
	defaultPort = 3478
	headerSize  = 20
	attrHeader  = 4
	// channelHeader is the size of the header of ChannelData, which is padded to padding bytes over streams (RFC 8656, section 12.4).
	channelHeader = 4
	padding       = 4
	// The channel numbers (RFC 8656, section 12). Servers of older RFCs know more.
	firstChannel = 0x4000
	lastChannel  = 0x4fff
	// permissionLife is the lifetime of a permission, channelLife that of a channel (RFC 8656, sections 9 and 12).
	permissionLife = 5 * time.Minute
	channelLife    = 10 * time.Minute
	// protocolUDP is UDP in REQUESTED-TRANSPORT.
	protocolUDP = 17
)

// Chosen by this implementation.
const (
	// MTU is the largest datagram that is relayed without fragments on usual paths, headers included.
	MTU = 1200
	// maxDatagram bounds the payload of a datagram in either direction, in bytes. Larger ones would be sent in fragments.
	maxDatagram = 1472
	// maxFrame bounds a message or ChannelData, in bytes. Larger ones are skipped.
	maxFrame = 2048
	// transmissions of a request over UDP, and lastTimeout after the last.
	transmissions = 4
	lastTimeout   = time.Second
	// answerLimit bounds the wait for an answer over a stream.
	answerLimit = 4 * time.Second
	// connectLimit bounds the opening of a pipe and the lookup of a name, allocateLimit all requests of an allocation.
	connectLimit  = 10 * time.Second
	allocateLimit = 10 * time.Second
	// stagger is the time after which the next server is tried beside those that have not answered.
	stagger = 300 * time.Millisecond
	// minRetry and maxRetry bound the pause after all servers have failed, which doubles each time.
	minRetry = 500 * time.Millisecond
	maxRetry = 5 * time.Second
	// keepAlive is the time without a byte after which the server is asked whether it is there.
	keepAlive = 4 * time.Second
	// slept is the delay of that which shows a sleep of the machine.
	slept = 10 * time.Second
	// refreshMargin is the time before its end at which an allocation is refreshed, at least; permissionRefresh the age at which a
	// permission in use is, and channelRefresh that of a channel.
	refreshMargin     = time.Minute
	permissionRefresh = 4 * time.Minute
	channelRefresh    = 8 * time.Minute
	// tidy is the interval of looking for permissions and channels to refresh or to forget.
	tidy = 30 * time.Second
	// minLife and maxLife bound the lifetime of an allocation as servers state it.
	minLife = 20 * time.Second
	maxLife = time.Hour
	// held is the time for which a datagram is kept until the permission for its peer is granted, maxHeld the number of those.
	held    = 2 * time.Second
	maxHeld = 256
	// proven is the time after which an allocation that is lost has been one: what follows begins without a pause.
	proven = 10 * time.Second
	// refusal is the time for which a peer that the server forbids is not asked for again.
	refusal = time.Minute
	// closeLimit bounds the wait for the server's answer to the end of an allocation.
	closeLimit = 500 * time.Millisecond
	// channelAfter is the number of datagrams to a peer, each at most channelPause after the one before, after which it gets a channel,
	// whose header is 32 bytes shorter.
	channelAfter = 8
	channelPause = 2 * time.Second
	// maxPeers bounds the addresses to which datagrams are sent and the IP addresses of sockets' peers, maxHosts the IP addresses with a
	// permission. The least recently used is forgotten.
	maxPeers = 16384
	maxHosts = 8192
	// maxBatch is the number of permissions in a request.
	maxBatch = 32
	// maxPending bounds the requests that are not answered. Those beyond are for permissions and channels, and are made later.
	maxPending = 256
	// maxBuffered is the number of bytes in a pipe beyond which datagrams are dropped, as by a router whose queue is full: congestion
	// control above adapts. It is half a second at 2 Mbit/s.
	maxBuffered = 128 << 10
	// maxText bounds the text of a server's errors, and its realm and nonce, in bytes.
	maxText = 763
	// maxURI bounds the text of a URI, in bytes.
	maxURI = 300
	// maxServers bounds the servers of a host.
	maxServers = 16
	// minStreamData is the least ChannelData over a stream, in bytes: pion's server waits for the next bytes after a shorter one.
	minStreamData = 5
)
