package rpc

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// EventKind is the kind of an Event.
type EventKind uint8

// What happens to an endpoint.
const (
	EventReady       EventKind = iota // bootstrapping has ended, well or not
	EventPersistent                   // the node has an ID from now on
	EventEphemeral                    // we have no id any more
	EventReachable                    // the server socket is not firewalled
	EventAddress                      // our address is Addr, as Endpoint.Addr returns it
	EventWakeUp                       // a long sleep has ended
	EventNetwork                      // Online and Degraded, or the network itself, have changed
	EventInterfaces                   // this machine's addresses have changed
	EventReach                        // DHT nodes answer from now on (Online), or none does
	EventJoined                       // another part of the network has been found, in which most of the nodes near us are
	EventUnreachable                  // the server socket is firewalled, since its known address was withdrawn
	EventElsewhere                    // others see another host than before, and our known address stays
	EventAwake                        // a node has answered for the first time since a long sleep; for the application alone
)

var eventNames = [...]string{"ready", "persistent", "ephemeral", "reachable", "address", "wake-up", "network", "interfaces", "nodes", "joined", "unreachable", "elsewhere", "awake"}

// Event is a change that an endpoint reports to its application and its host's trace. The application receives EventReach at the end
// of the turn, and EventNetwork also when the interfaces have changed.
type Event struct {
	Kind             EventKind
	ID               id.NodeID
	Addr             netip.AddrPort
	Online, Degraded bool
}

// tell reports an event to the trace and to the application.
func (e *Endpoint) tell(v Event) {
	e.h.Trace(v)
	e.app.Event(v)
}

// AppendText appends the event as text.
func (e Event) AppendText(b []byte) ([]byte, error) {
	b = append(b, "rpc "...)
	b = append(b, eventNames[e.Kind]...)
	switch e.Kind {
	case EventPersistent:
		b = append(append(b, ' '), e.ID.Short()...)
	case EventAddress:
		b = e.Addr.AppendTo(append(b, ' '))
	case EventReach:
		if e.Online {
			b = append(b, " answer"...)
		} else {
			b = append(b, " silent"...)
		}
	case EventNetwork:
		switch {
		case e.Degraded:
			b = append(b, " degraded"...)
		case e.Online:
			b = append(b, " online"...)
		default:
			b = append(b, " offline"...)
		}
	}
	return b, nil
}
