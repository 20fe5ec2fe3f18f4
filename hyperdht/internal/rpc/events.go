package rpc

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// EventKind says what happened.
type EventKind uint8

// What happens to an endpoint.
const (
	EventReady      EventKind = iota // bootstrapping has ended
	EventPersistent                  // ID is ours from now on
	EventEphemeral                   // we have no id any more
	EventReachable                   // the server socket is not firewalled
	EventAddress                     // others see us at Addr
	EventWakeUp                      // a long sleep has ended
	EventNetwork                     // Online and Degraded have changed
	EventInterfaces                  // this machine's addresses have changed
	EventReach                       // DHT nodes answer from now on, or none does
	EventJoined                      // a part of the network that was unknown has been found
)

var eventNames = [...]string{"ready", "persistent", "ephemeral", "reachable", "address", "wake-up", "network", "interfaces", "nodes", "joined"}

// Event is what an endpoint tells its host's trace.
type Event struct {
	Kind             EventKind
	ID               id.NodeID
	Addr             netip.AddrPort
	Online, Degraded bool
}

// AppendText appends the event in words.
func (v Event) AppendText(b []byte) ([]byte, error) {
	b = append(b, "rpc "...)
	b = append(b, eventNames[v.Kind]...)
	switch v.Kind {
	case EventPersistent:
		b = append(append(b, ' '), v.ID.Short()...)
	case EventAddress:
		b = v.Addr.AppendTo(append(b, ' '))
	case EventReach:
		if v.Online {
			b = append(b, " answer"...)
		} else {
			b = append(b, " silent"...)
		}
	case EventNetwork:
		switch {
		case v.Degraded:
			b = append(b, " degraded"...)
		case v.Online:
			b = append(b, " online"...)
		default:
			b = append(b, " offline"...)
		}
	}
	return b, nil
}
