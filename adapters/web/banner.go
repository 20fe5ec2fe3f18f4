package web

import (
	"strconv"

	"github.com/dhtprom/dhtprom/ports"
)

// health is the state of the scraper on the DHT.
type health struct {
	ready bool
	node  ports.NodeStatus
	group membership
}

func (h health) facts() []fact {
	known := fact{"DHT nodes known", strconv.Itoa(h.node.Nodes)}
	if !h.group.leads() {
		return []fact{known, {"Members of the group", strconv.Itoa(len(h.group.Members))}}
	}
	return []fact{known, {"DHT nodes with its record", strconv.Itoa(h.node.Announced)}}
}

// banner is the DHT's health in one line: a mark, a word, and what it means.
type banner struct {
	Class            string // of the style sheet, as that of a state
	Mark, Word, Text string
}

func (h health) banner() banner {
	group, shown := h.group.banner()
	switch {
	case shown && !h.group.Connected:
		return group
	case h.ready && h.node.Announced == 0 && h.node.Known.IsValid():
		return banner{"expired", "◆", "DHT unreachable", "No DHT node that has this scraper’s record answers. Clients with its address " + h.node.Known.String() + " in their invite register all the same."}
	case h.node.State == "offline":
		return banner{"down", down.Mark(), "DHT unreachable", "No DHT node answers, so new clients cannot register. Scrapes go on over open connections. Is UDP let out?"}
	case h.node.State == "closed":
		return banner{"down", down.Mark(), "DHT closed", "The node has ended."}
	case h.node.State == "starting", !h.ready:
		return banner{"new", waiting.Mark(), "DHT starting", "This scraper enters the DHT and announces its key, by which clients find it."}
	case shown:
		return group
	case h.node.Announced == 0:
		return banner{"expired", "◆", "DHT without its record", "No DHT node that has this scraper’s record answers, so new clients cannot find it. Scrapes go on over open connections."}
	case h.node.State == "degraded":
		return banner{"expired", "◆", "DHT degraded", "Most requests to DHT nodes time out, so new connections take long or fail. Scrapes go on over open connections."}
	default:
		return banner{"up", up.Mark(), "DHT healthy", "Clients find this scraper."}
	}
}
