package app

import "github.com/dhtprom/dhtprom/ports/host"

// Close stops accepting registrations, closes the sessions, finishes the registrations that are being written, writes the targets
// file a last time and closes store and transport. done is called at the end, within four seconds whatever disk and network do.
// Closing twice calls both.
//
// The disk and the network do not wait for each other: the connection of a vanished client takes seconds to close, and the table
// should be closed by then.
func (s *Scraper) Close(done func()) {
	s.closed = true
	if !s.shutdown.begin(s.cfg.Host, closeTimeout, done) {
		return
	}
	s.registry.gate.members.Clear()
	if s.expiry != nil {
		s.expiry.Stop()
	}
	s.nudges.stop()
	s.cfg.Host.Post(func() {
		// Before the transport ends their connections: sessions dial again when they lose one.
		s.closeSessions()
		closing := host.NewJoin(s.shutdown.finish)
		table, network := closing.Add(), closing.Add()
		if s.group != nil {
			s.group.leave(func() { s.closeTable(table) })
		} else {
			s.closeTable(table)
		}
		s.closeNetwork(network)
	})
}

// closeTable closes the store, which finishes its writes, and then writes the targets file.
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
		s.cfg.Transport.Close(next) // which closes the listener
	case s.listener != nil:
		s.listener.Close(next)
	default:
		next()
	}
}

func (s *Scraper) closeSessions() {
	s.dials.close() // or those that wait would take the turns of closed ones
	for _, k := range s.clients() {
		s.endVisit(k)
		s.stats.Dials += s.sessions[k].dials
		s.sessions[k].Close()
		delete(s.sessions, k)
	}
}
