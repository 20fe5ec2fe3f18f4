// Package turn is a machine whose datagrams a TURN server relays (RFC 8656): a [host.Host] on another one, for networks from which no UDP
// gets out, or to one port only. A node runs on it unchanged.
//
//	node ──socket──▶ Host ──frames──▶ link: a pipe (TCP, TLS, through a proxy) or UDP ──▶ server ──UDP──▶ peers
//
// All sockets share the relayed address, so that an arriving datagram goes to the socket that sent to its sender last. To peers, the host is
// one with a public address and a firewall that admits the addresses that were sent to: the server's permissions. LimitsOf tells a node what
// such sockets cannot do.
//
// # Servers
//
// The servers are tried in turn, the next one after 300 ms or when one fails, and the first that relays is used. When it is lost the others
// are tried at once, and then again after pauses of 0.5 to 5 s; so are those whose allocations last for less than 10 s.
//
// A server that is silent for 4 s is asked for a longer allocation, and is lost if it does not answer within another 4 s: then the pipe is
// broken. One that answers that it knows no allocation was restarted. A machine that wakes from a sleep drops what has waited in the pipe.
//
// Requests are signed with SHA-256 where a server offers it (RFC 8489, section 9.2), otherwise with MD5 and SHA-1, as coturn and pion want.
// A server that refers to another one is followed once, and over UDP only, because a pipe has the address of one server.
//
// # Datagrams
//
// The first datagram to an IP address asks for a permission and follows at once, because a server carries out in order what comes over a
// stream. It is kept for at most 2 s, and sent again if the request had to be repeated. Peers that get many datagrams get a channel, which
// takes 4 bytes instead of 36 for each. Permissions and channels are refreshed while they are in use. Datagrams are dropped while a pipe has
// more than 128 kB to send.
//
// The address to which a socket has sent last, of up to 16,384, decides which socket gets a datagram from there; then the IP address, of as
// many; and then the first socket does. The least recently used are forgotten, and so are permissions beyond 8,192.
//
// A node on the host notices within seconds that its address has changed. To save them, notify it in Config.OnUp.
//
// # States
//
// A session is the use of one server.
//
// Session:
//
//	connecting  10s     ──▶ allocating, over
//	allocating  10s     ──▶ up, closing, over
//	up          -       ──▶ closing, over
//	            (no limit: the allocation is refreshed until the server fails or the host closes)
//	closing     500ms   ──▶ over
//	over        -
package turn
