// Package natlab puts dhtprom and the published JavaScript packages behind the NATs of a real kernel, and measures which
// places can be scraped from which, by which path, after what time, and how soon again when a NAT reboots or an address
// changes.
//
// It needs Linux, root, ip and nft. Without them its tests are skipped, except in CI.
//
//	     DHT nodes 81.1.0.x      blind relay
//	               │               │
//	┌──────────────┴───────────────┴──────────────┐
//	│ core: a namespace that routes                │
//	└──┬──────────────┬──────────────────┬────────┘
//	   │ 82.0.0.1      │ 82.0.0.2          │ 82.0.0.3
//	 router          router            carrier's router
//	   │ 192.168.1.0/24                  │ 100.64.0.0/10
//	 client                            router ─ 192.168.1.0/24 ─ scraper
//
// Every box is a network namespace of its own, every router an nftables ruleset; programs are started in the namespaces of
// hosts. The addresses look public because HyperDHT treats private ones differently. None of it is connected to the
// machine's own network, and the core has no other routes: a datagram to any other address is dropped there.
//
// The lines between sites and the core may be long ones (netns.Wire): with delay, jitter, loss, reordering and an MTU.
//
// A guard, a second process, removes all namespaces and the processes in them when the test process ends, however it ends;
// should the guard be killed as well, the next laboratory cleans up.
//
//	go test ./interop/natlab                              what CI runs: each kind in each role
//	go test ./interop/natlab -natlab.full -timeout 1h     every cell
//	go test ./interop/natlab -natlab.rounds 3 -natlab.parallel 4 -update -timeout 3h
//	                                                      every cell, and medians into docs/nat-matrix.md
//	go test ./interop/natlab -run Attacks -natlab.attack 30s -update-attacks -timeout 1h
//	                                                      every attack, and what it did into docs/under-attack.md
//	go test ./interop/natlab -run Distance -natlab.distance 5 -update-distance -timeout 1h
//	                                                      starts and disturbances at 40 ms, and medians into docs/distance.md
package natlab
