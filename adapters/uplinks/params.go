package uplinks

import "time"

const (
	// patience is the time for which UDP alone is tried.
	patience = 500 * time.Millisecond
	// interval separates the looks at the uplinks while UDP is not the one in use.
	interval = 250 * time.Millisecond
	// minHold is the time for which DHT nodes must have answered over UDP before the traffic goes over to it. It doubles, up to longestHold,
	// each time UDP has failed within steady of that.
	minHold     = 5 * time.Second
	longestHold = 10 * time.Minute
	steady      = 10 * time.Minute
	// openLimit bounds the wait for the announcements on the next uplink.
	openLimit = 10 * time.Second
	// drainAfter is the time for which the former uplink is kept for its sessions and for registrations to move, drainLimit that for
	// which it is kept for scrapes under way.
	drainAfter = 8 * time.Second
	drainLimit = 20 * time.Second
	// closeAfter is the time after which the former uplink is closed when its listeners have ended: sessions have dialled others by then.
	closeAfter = 20 * time.Second
)
