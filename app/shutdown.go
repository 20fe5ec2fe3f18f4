package app

import "github.com/dhtprom/dhtprom/ports/host"

// Close stops accepting registrations, ends the sessions, finishes the registrations on their way to the disk, writes the
// targets file a last time and closes store and transport. done is called at the end, within closeTimeout whatever disk
// and network do. Closing twice calls both.
//
// The disk and the network do not wait for each other: a client that has vanished keeps its connection from ending for
// seconds, and the table is to be closed by then.
func (s *Scraper) Close(done func()) {
	s.closed = true
	if !s.ending.begin(s.cfg.Host, closeTimeout, done) {
		return
	}
	s.registry.gate.members.Clear()
	if s.expiry != nil {
		s.expiry.Stop()
	}
	for _, unwatch := range s.unwatch {
		unwatch()
	}
	s.nudges.stop()
	s.cfg.Host.Post(func() {
		// Before the transport ends their connections: sessions dial again when they lose one.
		s.closeSessions()
		closing := host.NewJoin(s.ending.finish)
		table, network := closing.Add(), closing.Add()
		s.closeTable(table)
		s.closeNetwork(network)
	})
}

// closeTable closes the store, which finishes what is on its way, and then writes the targets file.
func (s *Scraper) closeTable(next func()) {
	s.cfg.Store.Close(func(err error) {
		s.storeDone(err)
		s.targets.close(next)
	})
}

// closeNetwork closes the listener, and the transport unless others use it.
func (s *Scraper) closeNetwork(next func()) {
	switch {
	case !s.cfg.KeepTransport:
		s.cfg.Transport.Close(next) // and so the listener
	case s.listener != nil:
		s.listener.Close(next)
	default:
		next()
	}
}

func (s *Scraper) closeSessions() {
	s.dials.close() // or those that wait would take the turns of those that end
	for _, k := range s.clients() {
		s.stats.Dials += s.sessions[k].dials
		s.sessions[k].Close()
		delete(s.sessions, k)
	}
}
