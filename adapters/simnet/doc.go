// Package simnet is a simulated internet: thousands of hosts on one virtual clock in one goroutine.
//
// Everything that will happen lies in one agenda ordered by (instant, sequence). Running the net takes the
// first event out, moves the clock to it and gives it to its host as one turn; an idle net stops. There
// are no locks, no goroutines and no real time, so a virtual hour costs what its events cost and the same
// seed gives the same run, event for event. Net.Hash proves it.
//
//	net := simnet.New(simnet.Config{Seed: 1})
//	a := net.AddHost("a", netip.MustParseAddr("10.0.0.1"))
//	... start protocol objects on a, as on any host.Host ...
//	ok := net.RunUntil(func() bool { return connected }, time.Minute)
//
// # Who calls
//
// The goroutine that runs the net is the loop of all its hosts. Between runs it may call anything on any
// host, as if it were inside a turn of that host; what is deferred there runs as soon as the net does.
// A Net and its hosts belong to that one goroutine, Host.Post included.
//
// # The way of a datagram
//
//	socket → host → [access link] → segment → (router → segment)* → [access link] → host → socket
//
// A segment is a network whose members reach each other directly: the internet, which every Net has, or a
// LAN. A Router joins a LAN to another segment, and what it does to datagrams there is a value, its NAT:
//
//	carrier := net.AddRouter("carrier", simnet.SymmetricRandom(), netip.MustParseAddr("203.0.113.1"))
//	home := carrier.LAN().AddRouter("home", simnet.PortRestricted(), netip.MustParseAddr("100.64.0.2"))
//	b := home.AddHost("b", netip.MustParseAddr("192.168.1.2"))
//
// Each crossing costs the link's hops, so a datagram with a small TTL dies on the way, as those that
// only open the near NAT should. What happens to a datagram on a link - delay, loss, duplication - is a
// pure function of the seed, the two machines, the instant and how many datagrams the sender sent at that
// instant: one more draw in one place moves nothing elsewhere.
//
// A Link has a constant delay for all and one for each pair (Spread), a jitter that keeps the order and a Tail that
// does not: a Distribution, by its shape. Links, NATs and faults in which a field would mean nothing panic where they
// are set, so that no scenario believes to test what it does not.
//
// What keeps machines apart - Block, Partition, the partitions among faults - lies where their ways meet. The sender's
// routers open and stay open for what will never arrive; the receiver's know nothing of it.
//
// # Machines and hosts
//
// A Host is one boot of a machine. Crash takes away its timers, sockets and posted closures, and whatever
// old code still holds a crashed Host talks to a wall. Restart boots the machine again, as a new Host with
// the old name, addresses and wall clock. A machine can sleep (Sleep), be slow (SetTurnCost), have clocks that drift and jump
// (SetDrift, Clock) and go from one segment to another (Move).
//
// Faults are all of that and bad links, drawn from a seed, let loose on a net by Net.Inject and ended at once by
// Outbreak.Heal. DrawFaults draws each kind by itself: whether it is there, how bad it is, and whether all victims or one
// group of them suffer it. Where an outbreak knows how long it lasts, every kind that was drawn strikes in that time, and
// Outbreak.Struck tells how often.
//
// # Looking in
//
// Config.Trace gets a line for all that happens, every drop with its reason. Package pcap below writes what crosses
// segments as a capture file. Package simstore is a disk for machines that keep something.
package simnet
