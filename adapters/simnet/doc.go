// Package simnet is a simulated internet: thousands of hosts on one virtual clock, and in one goroutine unless it has lanes.
//
// All pending events lie in one agenda ordered by (instant, sequence). Running the net removes the first event, advances
// the clock to it and runs it as one turn of its host; without pending events the net stops. There are no locks, no
// goroutines and no real time, so a virtual hour costs what its events cost and the same seed gives the same run, event for
// event. Net.Hash proves it.
//
//	net := simnet.New(simnet.Config{Seed: 1})
//	a := net.AddHost("a", netip.MustParseAddr("10.0.0.1"))
//	... start protocol objects on a, as on any host.Host ...
//	ok := net.RunUntil(func() bool { return connected }, time.Minute)
//
// # Goroutines
//
// The goroutine that runs the net is the loop of all its hosts. Between runs it may call anything on any host, as if it
// were inside a turn of that host; what is deferred there runs when the net next runs. A Net and its hosts belong to that
// one goroutine, Host.Post included.
//
// # Lanes
//
// A net with many machines can be divided into lanes (Config.Lanes), which run at the same time where Config.Parallel lets
// them. A datagram between machines needs at least the shortest delay of a link of the internet. Within a stretch of time of
// that length, a lane therefore depends on no other, and the net runs stretch after stretch:
//
//	            stretch        stretch     step of the scenario
//	lane 0   ──•──•─•───│───•────•──•─│─ │ ─•───
//	lane 1   ────•──••──│─•─────•─────│─ │ ──•──    datagrams for other lanes are collected at │
//	lane 2   ─•──────•──│────•──────•─│─ │ ─────
//
// The result of a run depends on the number of lanes, which decides the order of events at one instant, but not on how many of
// them run at the same time. Machines of one lane share a goroutine, those of different lanes do not: a turn in another lane than
// the first may use its own host only, by the methods of host.Host, Elapsed and Outside, and nothing of the Net, not even its
// clock. What it has to say to the scenario or about others it defers with Host.Outside. Steps of the scenario (AfterFunc) run
// while all lanes stand still, at their instant or, when a turn planned them for earlier, after the stretch. Steps and stretches alternate, so that a delay of a millisecond on the internet makes lanes slow, and none makes them
// useless. Routers and all behind them are in the first lane; AddHostIn puts machines into others, which cannot leave the internet.
//
// # The path of a datagram
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
// A router that translates may map ports on request, by PCP and NAT-PMP (Router.MapPorts).
//
// Each crossing costs the link's hops, so a datagram with a small TTL is dropped on the way, as those that only open the
// near NAT should be. The fate of a datagram on a link (delay, loss, duplication) is a pure function of the seed, the two
// machines, the instant and the number of datagrams that the sender sent at that instant: a further draw in one place
// changes nothing elsewhere.
//
// A Link has a constant delay for all pairs and one for each pair (Spread), a jitter that keeps the order and a Tail, a
// Distribution, that does not. Links, NATs and faults with a field that would have no effect panic where they are set, so
// that a scenario cannot test less than it states.
//
// Blocks and partitions (Block, Partition, and those among faults) apply where the paths of two machines meet. The sender's
// routers create and keep sessions for datagrams that will never arrive; the receiver's see nothing of them.
//
// # Machines and hosts
//
// A Host is one boot of a machine. Crash removes its timers, sockets and posted closures, and calls of old code on a
// crashed Host do nothing. Restart boots the machine again, as a new Host with the old name, addresses and wall clock. A
// computation (Host.Compute) ends after a drawn delay, so that other turns come in between, and others overtake it. A
// machine can sleep (Sleep), be slow (SetTurnCost), have clocks that drift and jump (SetDrift, Clock) and move from one
// segment to another (Move).
//
// Faults are all of that and bad links, drawn from a seed, started on a net by Net.Inject and ended at once by
// Outbreak.Heal. DrawFaults draws each kind by itself: whether it occurs, how severe it is, and whether it affects all
// victims or one group. In an outbreak of known length (Faults.Lasts), every kind that was drawn strikes within it;
// Outbreak.Struck returns how often.
//
// # Observing a run
//
// Config.Trace receives a line for every event, every drop with its reason. Package pcap below writes the datagrams that
// cross segments to a capture file. Package simstore is a disk for machines that store something, simpipe connects
// machines by pipes as TCP does, simturn is a TURN server.
package simnet
