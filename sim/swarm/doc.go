// Package swarm has the one test that is too large to run beside those of package sim: a DHT of ten thousand nodes, a
// thousand clients behind all kinds of routers and one scraper, for a virtual hour from the first boot to the last
// goodbye. Its bounds are five minutes of one core and 4 GB.
//
// It is played at full size where DHTPROM_LARGE is set, as the CI run does, and at a tenth of it elsewhere. A hundred
// thousand nodes are played on demand:
//
//	go run ./sim/cmd/dhtprom-sim -scenario swarm -nodes 100000 -clients 20 -for 10s
//
// sim/MEASURED.md has what both took.
package swarm
