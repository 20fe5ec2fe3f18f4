// Package swarm contains the one test that is too large to run beside those of package sim: a large DHT, clients behind all
// kinds of routers and one scraper, from the first boot to the last deregistration. Its bounds are datagrams, events and
// memory, which do not depend on the speed of the machine.
//
// Each change plays 2,000 nodes and 200 clients for ten virtual minutes. Where DHTPROM_LARGE is set, as .ci/nightly does, it
// is 10,000 nodes and 1,000 clients for an hour. A hundred thousand nodes are played on demand, and every night:
//
//	go run ./sim/cmd/dhtprom-sim -scenario swarm -nodes 100000 -clients 20 -for 10s
//
// sim/MEASURED.md has what each takes.
package swarm
