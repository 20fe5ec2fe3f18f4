// Package sim decides whether a change is safe: it runs scrapers, clients and the nodes of a private DHT, the very
// code that ships, on a simulated internet, lets things go wrong there, and watches.
//
//	options ──▶ Run ──▶ World ──▶ scenario: boot, break, heal ──▶ Result: hash, failures, table, plots, transcript
//	                      │
//	                      └─ every event of every client and scraper ──▶ checker, transcript, chronicle
//
// A scenario is a function of a World; Scenarios lists them, and Scenario.Least says how small each may be. A run is
// decided by its Options and the commit: run twice, it has the same hash, which covers every delivery, drop and timer
// and every line of the transcript.
//
// Above the simulated internet (adapters/simnet) run all of hyperdht, app and adapters/dht, and disks that fail and
// lose power (adapters/simnet/simstore) in the place of adapters/bolt. What waits or meets the machine is tested
// elsewhere: adapters/bolt, web and targets beside their code, with the contracts of ports/portstest, and adapters/udp by
// ports/host/hosttest and interop.
//
// # What is checked, always
//
// The checker sees what an operator could see: the events of clients and scrapers, the answers to scrapes, and the
// disk. Whatever a scenario does, none of this may happen:
//
//	identity      a scrape of an alias brings metrics of another client than the one that the scraper gave the alias to
//	expiry        an alias is served although nobody renewed it in time
//	stranger      a client lets somebody in who is not its scraper, or an alias goes to a key that never knew the secret
//	acknowledged  a client was told that its alias is registered, and it is not on the disk, or not there after a restart
//	retries       somebody tries again more often than its backoff allows
//	bounds        a machine has more timers, sockets or sessions than it could need
//	deadlines     something of a node is in a state for longer than that may last, or comes to a state that it must not
//	readable      somebody gets what cannot be read, although nobody tampers with datagrams
//	connections   an event tells of the end of a connection that was not open, or not of one that was
//	secret        a secret stands in the transcript
//	leftovers     a machine whose software was closed still has a timer or a socket
//	panic         the code under test panics
//
// And of the story that is told:
//
//	progress      what it waits for does not happen in time, so that it cannot go on
//	outcome       something is not as it should be now: who has an alias, what was found, how many attempts there were
//	liveness      an alias is not scrapeable within the bound after the world has healed
//
// A Failure has the name of its rule, and an identity beside it (Failure.Expected): what was expected, without who and
// when. Shrink holds on to that, since a rule such as outcome has many expectations.
//
// # Two phases
//
// Scenarios with faults have two phases. In the first, anything may go wrong, and only the rules above are judged. Then
// the world heals, faults stop, and within a stated time every registered alias must be scrapeable:
//
//	healWithin       30 s  everywhere else: what README.md promises
//	reunionWithin   300 s  outage, for a new client too: bootstrap nodes that were silent are asked each minute
//	crowdWithin     120 s  flashcrowd, after an outage in which the table was lost
//	namedWithin     150 s  dns, for who knows nobody: names are looked up each minute
//	announcedWithin 360 s  for lookups: a round of announcing takes five minutes
//
// These are virtual seconds. The report has a row and a line of the plot for each healing, with its bound.
//
// # Peers that are not ours
//
//	hostile, hoard, flood   strangers: floods, garbage, thieves, hoarders, nodes next to a key
//	byzantine               DHT nodes that keep to the form of the protocol and lie (hyperdht/forge, Liar): a quarter of all, and
//	                        no key has all of its three nearest nodes among them
//	rotation                those who know a secret that is not valid any more, or a right one and want the alias of another
//	elders                  clients that say and know no more than the first generation of the JavaScript packages, on our DHT node,
//	                        so that hole punching is today's; interop plays the packages themselves
//
// # Running it
//
//	go test ./sim                                        first what once failed (testdata/seeds.txt), then each scenario
//	                                                     twice with each of some seeds, and once at its least
//	DHTPROM_SEEDS=50 go test ./sim -run FreshSeeds -timeout 2h
//	                                                     seeds that nobody has played yet: for the night
//	DHTPROM_ARTIFACTS=dir go test ./sim                  a failed run leaves its trace, datagrams, transcript and report
//	DHTPROM_LARGE=1 go test ./sim/swarm                  ten thousand nodes
//	go run ./sim/cmd/dhtprom-sim -h                      one scenario: any seed and size, report, trace, pcap, -shrink
//	go run ./sim/cmd/dhtprom-sim -scenario all -seed random -seeds 20
//	go run ./sim/cmd/dhtprom-sim -scenario outages -seeds 10   outages of the DHT: 4 to 40 nodes, 20 s to an hour
//	go run ./sim/cmd/mutate                              break one line at a time and see who notices: MUTATIONS.md
//	go run ./sim/cmd/mutate -drawn 300 -seed 1           break what rules find, against tests and scenarios
//	go run ./sim/cmd/fuzz -for 1h                        all fuzz targets of the module in turn
//
// A failed run prints the line that replays it and the line to be added to testdata/seeds.txt.
package sim
