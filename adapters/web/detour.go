package web

import (
	"fmt"

	"github.com/dhtprom/dhtprom/domain"
)

// detourWords describes why a relay carries the connection of an alias; empty if none does. own is the kind of this node's NAT, for
// connections without a punch.
func detourWords(d domain.Detour, own string) string {
	if d.Local == "" || d.Local == "unknown" {
		d.Local = own
	}
	sides := fmt.Sprintf(" The client is %s; this scraper is %s.", behind(d.Remote), behind(d.Local))
	switch d.Reason {
	case domain.DetourRule:
		return "A path rule of this scraper allows nothing but a relay (--dht.path)."
	case domain.DetourSearching:
		return "Direct paths are still being tried." + sides
	case domain.DetourTakeover:
		return "The direct path stopped answering, lost many packets or became slow, and the relay in reserve took over. The connection returns when the direct path works again."
	case domain.DetourNotFound:
		known := d.Cause.Explain(domain.PeerClient).Text
		switch {
		case known != "":
			return "No direct path was found: " + known + "." + sides
		case d.Local == "random" && d.Remote == "random":
			return "No direct path was found: both NATs give every connection another port."
		}
		return "No direct path was found. The client opened this connection, so its side has the reason: dhtprom-client doctor shows it." + sides
	}
	return ""
}

// behind describes a side by its kind of NAT.
func behind(kind string) string {
	switch kind {
	case "open":
		return "at an open address"
	case "consistent":
		return "behind a NAT with consistent ports"
	case "random":
		return "behind a NAT with random ports"
	default:
		return "behind a NAT or firewall of unknown kind"
	}
}
