package app

import (
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/host"
)

// targetsWriter keeps the targets file up to date: changes that come close together are one write, one write runs at a time, and
// a failed one is repeated.
type targetsWriter struct {
	scraper *Scraper
	dirty   bool
	writing bool
	timer   host.Timer
	backoff domain.Backoff
	first   func() // called after the first attempt to write
	closing func() // called after the last write
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
	w.timer = w.scraper.cfg.Host.AfterFunc(targetsDelay, w.write)
}

func (w *targetsWriter) write() {
	w.timer = nil
	w.dirty, w.writing = false, true
	entries := w.scraper.table.Entries()
	w.scraper.cfg.Targets.Write(entries, func(err error) { w.written(len(entries), err) })
}

func (w *targetsWriter) written(n int, err error) {
	w.writing = false
	s := w.scraper
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
		w.timer = s.cfg.Host.AfterFunc(targetsDelay, w.write)
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
