// Package sim tests the whole system: it runs scrapers, clients and the nodes of a private DHT, with the code that
// ships, on a simulated internet, injects faults, and checks rules.
//
//	options ──▶ Run ──▶ World ──▶ scenario: boot, break, heal ──▶ Result: hash, failures, table, plots, transcript
//	                      │
//	                      └─ every event of every client and scraper ──▶ checker, transcript, chronicle
//
// A scenario is a function of a World; Scenarios lists them, and Scenario.Least is the smallest size of each. A run is
// determined by its Options and the commit: run twice, it has the same hash, which covers every delivery, drop and timer
// and every line of the transcript.
//
// All of hyperdht, app and adapters/dht run on the simulated internet (adapters/simnet), with disks that fail and lose
// power (adapters/simnet/simstore) in place of adapters/bolt. Code that blocks or uses the real machine is tested
// elsewhere: adapters/bolt, web and targets beside their code, with the contracts of ports/portstest, and adapters/udp by
// ports/host/hosttest and interop.
//
// # What is checked, always
//
// The checker observes what an operator could observe: the events of clients and scrapers, the answers to scrapes, and
// the disk. In no scenario may any of this happen:
//
//	identity      a scrape of an alias returns metrics of another client than the one that the scraper gave the alias to
//	expiry        an alias is served although it was not renewed in time
//	stranger      a client accepts a connection of another peer than its scraper, or an alias goes to a key that never knew the secret
//	atomic        the table or the disk of a scraper has parts of two sets of one client
//	acknowledged  a client received an acknowledgement, and its alias is not on the disk, or not there after a restart; or its goodbye was
//	              answered, and it is
//	leader        a member of a group leads while another one does
//	store         a record in the store of a group cannot be read
//	retries       a machine retries more often than its backoff allows
//	bounds        a machine has more timers, sockets or sessions than it could need
//	deadlines     a part of a node is in a state for longer than its limit, or makes an invalid transition
//	readable      a machine receives undecryptable data, although datagrams are not tampered with
//	connections   an event reports the end of a connection that was not open, or none reports that of one that was
//	secret        the transcript contains a secret
//	leftovers     a machine whose software was closed still has a timer or a socket
//	panic         the code under test panics
//
// And in the scenario at hand:
//
//	progress      a condition is not met in time, so that the scenario cannot go on
//	outcome       a result is wrong: the owner of an alias, the findings of lookups, the number of attempts
//	group         a scrape is lost while members of a group are restarted in turn, a change takes a group too long, or two members hold a client
//	liveness      an alias is not scrapeable within the bound after the world has healed
//
// A Failure has the name of its rule, and an identity beside it (Failure.Expected): the broken expectation, without names
// and times. Shrink compares that, since a rule such as outcome has many expectations.
//
// # Two phases
//
// Scenarios with faults have two phases. In the first, anything may go wrong, and only the rules above are judged. Then
// the world heals, faults stop, and within a stated time every registered alias must be scrapeable:
//
//	healWithin       30 s  everywhere else: what README.md promises
//	reunionWithin   300 s  outage, for a new client too: silent bootstrap nodes are asked each minute
//	groupWithin      35 s  group and groupchaos: a lease of 5 s, and dials; 60 s more where clients wait to register
//	missedWithin    120 s  group and groupchaos, for clients that one member can reach
//	crowdWithin     120 s  flashcrowd, after an outage in which the table was lost
//	namedWithin     150 s  dns, for a client without known nodes: names are looked up each minute
//	guessWithin      60 s  at most, without a relay, where a guess of ports was lost after the healing: what README.md promises there
//	announcedWithin 360 s  for lookups: a round of announcing takes five minutes
//
// Where ports are guessed, and a guess is lost after the healing, healWithin begins after the rest of 20 s that follows it.
//
// Where a scraper has not been connected to a client for 15 minutes, or since its own start, it waits for up to a minute between dials. If the
// client does not register meanwhile, healWithin begins with the next dial instead: elders register once an hour only.
//
// These are virtual seconds. The report has a row and a line of the plot for each healing, with its bound.
//
// # Hostile and foreign peers
//
//	hostile, hoard, flood   strangers: floods, garbage, thieves, hoarders, nodes next to a key
//	byzantine               DHT nodes that keep to the form of the protocol and lie (hyperdht/forge, Liar): a quarter of all, and
//	                        no key has all of its three nearest nodes among them
//	rotation                clients with an expired secret, or with a valid one and the alias of another client
//	identities              clients with the secret of another identity, or of a revoked one
//	elders                  clients with the messages of the first generation of the JavaScript packages, on our DHT node,
//	                        so that hole punching is current; interop runs the packages themselves
//
// # Running it
//
//	go test ./sim                                        first what once failed (testdata/seeds.txt), then each scenario
//	                                                     with some seeds, twice with the first, and once at its least
//	DHTPROM_SEEDS=50 go test ./sim -run FreshSeeds -timeout 2h
//	                                                     new seeds: for the night
//	DHTPROM_ARTIFACTS=dir go test ./sim                  a failed run leaves its trace, datagrams, transcript and report
//	DHTPROM_LARGE=1 go test ./sim/swarm                  ten thousand nodes
//	go run ./sim/cmd/dhtprom-sim -h                      one scenario: any seed and size, report, trace, pcap, -shrink
//	go run ./sim/cmd/dhtprom-sim -scenario all -seed random -seeds 20
//	go run ./sim/cmd/dhtprom-sim -scenario outages -seeds 10   outages of the DHT: 4 to 40 nodes, 20 s to an hour
//	go run ./sim/cmd/mutate                              break one line at a time; a scenario must fail: MUTATIONS.md
//	go run ./sim/cmd/mutate -drawn 300 -seed 1           mutate by rule, against tests and scenarios
//	go run ./sim/cmd/fuzz -for 1h                        all fuzz targets of the module in turn
//
// A failed run prints the line that replays it and the line to be added to testdata/seeds.txt.
package sim
