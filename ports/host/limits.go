package host

// Limits describe what the sockets of a host cannot do. Those of a machine on the internet have none; those whose datagrams a TURN server
// relays have all.
type Limits struct {
	// Filtered means that datagrams arrive only from hosts to which this one has sent some, whatever the network.
	Filtered bool
	// OneAddress means that all sockets have one address, which every remote sees: a datagram goes to the socket that sent to its sender
	// last. Other addresses of a host that was sent to may send, too.
	OneAddress bool
	// MTU is the largest datagram with the headers of IP and UDP, in bytes; 0 means the usual 1,500.
	MTU int
}

// Limited is a Host with limits. One that does not implement it has none.
type Limited interface {
	Limits() Limits
}

// LimitsOf returns the limits of a host.
func LimitsOf(h Host) Limits {
	if l, ok := h.(Limited); ok {
		return l.Limits()
	}
	return Limits{}
}
