package uplinks

import (
	"slices"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// listener is a server on the uplink in use, and for a while on the former.
type listener struct {
	t     *Transport
	begin func(u *uplink, b *beginning) (ports.Listener, error)
	ready func(error) // nil once it was called

	current *served // nil while there is no uplink
	former  []*served
	closed  bool
}

// served is a listener on one uplink.
type served struct {
	ports.Listener
	on      *uplink
	running int // scrapes
}

// beginning has the parameters of a listener on one uplink.
type beginning struct {
	takeOver bool
	served   *served
	ready    func(error)
}

// ListenMetrics implements ports.ClientTransport.
func (t *Transport) ListenMetrics(m ports.MetricsListen, ready func(error)) (ports.Listener, error) {
	return t.listen(ready, func(u *uplink, b *beginning) (ports.Listener, error) {
		here := m
		here.TakeOver = b.takeOver
		here.OnOpen = func(c ports.Conn) ports.MetricsHandlers { return b.served.counted(m.OnOpen(c)) }
		return u.transport.ListenMetrics(here, b.ready)
	})
}

// ListenAliases implements ports.ScraperTransport.
func (t *Transport) ListenAliases(a ports.AliasListen, ready func(error)) (ports.Listener, error) {
	return t.listen(ready, func(u *uplink, b *beginning) (ports.Listener, error) {
		here := a
		here.TakeOver = b.takeOver
		return u.transport.ListenAliases(here, b.ready)
	})
}

// counted counts the scrapes under way.
func (s *served) counted(h ports.MetricsHandlers) ports.MetricsHandlers {
	onScrape := h.OnScrape
	h.OnScrape = func(r domain.ScrapeRequest, handlers ports.ScrapeHandlers) ports.Scrape {
		s.running++
		over := false
		end := func() {
			if !over {
				over = true
				s.running--
			}
		}
		onEnd := handlers.OnEnd
		handlers.OnEnd = func(err error) {
			end()
			onEnd(err)
		}
		return &scrape{onScrape(r, handlers), end}
	}
	return h
}

// scrape is a scrape that is counted.
type scrape struct {
	ports.Scrape
	end func()
}

// Cancel implements ports.Scrape.
func (s *scrape) Cancel() {
	s.end()
	s.Scrape.Cancel()
}

func (t *Transport) listen(ready func(error), begin func(*uplink, *beginning) (ports.Listener, error)) (ports.Listener, error) {
	if t.closing {
		return nil, domain.ErrClosed
	}
	l := &listener{t: t, begin: begin, ready: ready}
	if t.current != nil {
		s, err := l.open(t.current, &beginning{ready: l.announced})
		if err != nil {
			return nil, err
		}
		l.current = s
	} else {
		t.waiting = append(t.waiting, func() {
			if l.closed || l.current != nil {
				return
			}
			var err error
			if l.current, err = l.open(t.current, &beginning{ready: l.announced}); err != nil {
				l.announced(err)
			}
		})
	}
	t.listeners = append(t.listeners, l)
	return l, nil
}

// announced reports to the application, once.
func (l *listener) announced(err error) {
	if ready := l.ready; ready != nil && !l.closed {
		l.ready = nil
		ready(err)
	}
}

// open begins on an uplink.
func (l *listener) open(u *uplink, b *beginning) (*served, error) {
	s := &served{on: u}
	b.served = s
	var err error
	s.Listener, err = l.begin(u, b)
	return s, err
}

// openListeners begins on the next uplink, and calls announced for each listener.
func (t *Transport) openListeners(to *uplink, announced func()) {
	for _, l := range slices.Clone(t.listeners) {
		told := false
		once := func(err error) {
			if !told {
				told = true
				announced()
			}
			if err == nil {
				l.announced(nil)
			}
		}
		l.leave(to) // it may not have ended there since the last time
		s, err := l.open(to, &beginning{takeOver: true, ready: once})
		if err != nil { // it listens there already, or the uplink closes
			t.cfg.Host.Post(func() { once(err) })
			continue
		}
		if l.current != nil {
			l.former = append(l.former, l.current)
		}
		l.current = s
	}
}

// back gives a listener that was opened on another uplink up, for the one that it was on.
func (l *listener) back(u *uplink) {
	if l.current == nil || l.current.on == u {
		return
	}
	for i, s := range l.former {
		if s.on == u {
			failed := l.current
			l.former = slices.Delete(l.former, i, i+1)
			l.current = s
			failed.Leave(func() {})
			return
		}
	}
}

// leave ends the listener on a former uplink at once.
func (l *listener) leave(u *uplink) {
	l.former = slices.DeleteFunc(l.former, func(s *served) bool {
		if s.on == u {
			s.Leave(func() {})
		}
		return s.on == u
	})
}

// drain ends the listeners on former uplinks when their scrapes have ended.
func (l *listener) drain() {
	for _, s := range l.former {
		began := l.t.cfg.Host.Now()
		var timer host.Timer
		timer = l.t.cfg.Host.AfterFunc(drainAfter, func() {
			if !slices.Contains(l.former, s) {
				return
			}
			if s.running > 0 && l.t.cfg.Host.Now().Sub(began) < drainLimit {
				timer.Reset(interval)
				return
			}
			l.former = slices.DeleteFunc(l.former, func(other *served) bool { return other == s })
			s.Leave(func() {})
		})
	}
}

// Close implements ports.Listener.
func (l *listener) Close(done func()) { l.end(ports.Listener.Close, done) }

// Leave implements ports.Listener.
func (l *listener) Leave(done func()) { l.end(ports.Listener.Leave, done) }

func (l *listener) end(how func(ports.Listener, func()), done func()) {
	l.closed = true
	t := l.t
	t.listeners = slices.DeleteFunc(t.listeners, func(other *listener) bool { return other == l })
	join := host.NewJoin(func() { t.cfg.Host.Post(done) })
	begun := join.Add()
	for _, s := range l.former {
		s.Leave(join.Add())
	}
	l.former = nil
	if l.current != nil {
		how(l.current.Listener, join.Add())
		l.current = nil
	}
	begun()
}
