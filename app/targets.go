package app

import (
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/host"
)

// targetsWriter keeps the targets file up to date: changes that come close together are one write, the more so the more of them there
// are, one write runs at a time, and a failed one is repeated.
type targetsWriter struct {
	scraper *Scraper
	dirty   bool
	writing bool
	timer   host.Timer
	backoff domain.Backoff
	delay   time.Duration // the last one
	wrote   host.Instant  // when the last write ended
	first   func()        // called after the first attempt to write
	closing func()        // called after the last write
}

// begin writes the initial file and calls next after the attempt, successful or not, so that the file exists when the scraper is
// ready.
func (w *targetsWriter) begin(next func()) {
	if w.scraper.cfg.Targets == nil {
		next()
		return
	}
	if w.timer != nil {
		w.timer.Stop()
	}
	w.first = next
	w.write()
}

// changed schedules a write.
func (w *targetsWriter) changed() {
	w.dirty = true
	if w.scraper.cfg.Targets == nil || w.writing || w.timer != nil || w.closing != nil {
		return
	}
	w.schedule()
}

// schedule waits longer each time that a change comes within twice the last wait.
func (w *targetsWriter) schedule() {
	h := w.scraper.cfg.Host
	if h.Now().Sub(w.wrote) < 2*w.delay {
		w.delay = min(2*w.delay, targetsEvery)
	} else {
		w.delay = targetsDelay
	}
	w.timer = h.AfterFunc(w.delay, w.write)
}

func (w *targetsWriter) write() {
	w.timer = nil
	w.dirty, w.writing = false, true
	entries := w.scraper.table.Entries()
	w.scraper.cfg.Targets.Write(entries, func(err error) { w.written(len(entries), err) })
}

func (w *targetsWriter) written(n int, err error) {
	s := w.scraper
	w.writing, w.wrote = false, s.cfg.Host.Now()
	if first := w.first; first != nil {
		w.first = nil
		defer first()
	}
	if err != nil {
		s.stats.TargetsFailures++
		tell(s.cfg.OnEvent, domain.WriteAliasesError{What: "targets file", Err: err})
		if w.closing == nil {
			w.dirty = true
			w.timer = s.cfg.Host.AfterFunc(w.backoff.Next(random(s.cfg.Host)), w.write)
			return
		}
	} else {
		w.backoff.Reset()
		tell(s.cfg.OnEvent, domain.AliasesUpdated{Entries: n})
	}
	switch {
	case w.closing != nil && w.dirty:
		w.write()
	case w.closing != nil:
		w.closing()
	case w.dirty:
		w.schedule()
	}
}

// close writes pending changes and calls done.
func (w *targetsWriter) close(done func()) {
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
	w.closing = done
	switch {
	case w.writing:
	case w.dirty && w.scraper.cfg.Targets != nil:
		w.write()
	default:
		done()
	}
}
