package hyperdht

import (
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports/host"
)

// serverList holds the servers of a node.
type serverList struct {
	byTarget  map[id.Target]*Server
	listening []*Server // in the order of Listen
	leaving   []*Server // closed, and being unannounced
}

// at returns the server that listens at a target, nil for none.
func (l *serverList) at(target id.Target) *Server { return l.byTarget[target] }

func (l *serverList) add(s *Server) {
	if l.byTarget == nil {
		l.byTarget = make(map[id.Target]*Server)
	}
	l.byTarget[s.target] = s
	l.listening = append(l.listening, s)
}

// leave moves a closed server to those that are being unannounced. The list may be in use by a loop.
func (l *serverList) leave(s *Server) {
	delete(l.byTarget, s.target)
	if i := slices.Index(l.listening, s); i >= 0 {
		l.listening = append(l.listening[:i:i], l.listening[i+1:]...)
	}
	l.leaving = append(l.leaving, s)
}

// left removes a server that was unannounced.
func (l *serverList) left(s *Server) {
	l.leaving = slices.DeleteFunc(l.leaving, func(other *Server) bool { return other == s })
}

// announced lists the servers of which the network may have records: all that listen, and those that were closed within takeBackTime
// and are not unannounced yet.
func (l *serverList) announced(now host.Instant) []*Server {
	list := slices.Clone(l.listening)
	for _, s := range l.leaving {
		if now.Sub(s.left) < takeBackTime {
			list = append(list, s)
		}
	}
	return list
}
