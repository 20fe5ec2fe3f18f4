package web

import (
	"fmt"
	"time"

	"github.com/dhtprom/dhtprom/domain"
)

// Connection has the open connection of an alias: its path, what the scraper measures on it, and what the client reports about itself.
type Connection struct {
	RemoteAddress string     `json:"remoteAddress,omitempty"`
	Path          string     `json:"path,omitempty"` // lan, direct, punched, relayed or turn
	Connected     *time.Time `json:"connectedSince,omitempty"`
	RTTSeconds    float64    `json:"rttSeconds,omitempty"`    // smoothed round-trip time
	PacketsSent   uint64     `json:"packetsSent,omitempty"`   // with data, repetitions included
	PacketsResent uint64     `json:"packetsResent,omitempty"` // repetitions of packets that were taken for lost
	ClientVersion string     `json:"clientVersion,omitempty"` // of its program; older clients report none
}

func connectionOf(a domain.AliasStatus) (c Connection) {
	if !a.Since.IsZero() {
		since := a.Since.UTC()
		c.Connected = &since
	}
	if a.SessionUp {
		c.RemoteAddress, c.Path = a.Peer.Addr.String(), a.Peer.Path.String()
		c.RTTSeconds, c.PacketsSent, c.PacketsResent, c.ClientVersion = a.Link.RTT.Seconds(), a.Link.Sent, a.Link.Resent, a.Version
	}
	return c
}

// measured has the measurements for the pages; empty without a connection.
type measured struct {
	RTT     string // empty before the first measurement
	Resent  string
	Version string
}

func measuredWords(a domain.AliasStatus) (m measured) {
	if !a.SessionUp {
		return m
	}
	if a.Link.RTT > 0 {
		m.RTT = span(a.Link.RTT)
	}
	switch l := a.Link; {
	case l.Sent == 0:
	case l.Resent == 0:
		m.Resent = fmt.Sprintf("none of %d packets", l.Sent)
	default:
		m.Resent = fmt.Sprintf("%.2g %% of %d packets", 100*l.ResentShare(), l.Sent)
	}
	if m.Version = a.Version; m.Version == "" {
		m.Version = "not known: an older client, or one in JavaScript"
	}
	return m
}
