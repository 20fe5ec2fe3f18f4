// Package systemd reports the state of a program to systemd, by the protocol of sd_notify(3). Without systemd it does nothing.
package systemd

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Service is this process as a service of systemd.
type Service struct {
	send     func(state string) error
	watchdog time.Duration // systemd ends a service without a sign of life for this long; 0 means never
	log      *slog.Logger

	mu       sync.Mutex
	status   string // the last one, without that of a failed reload
	ready    bool
	stopping bool
}

// New returns the service of this process.
func New(log *slog.Logger) *Service {
	watchdog, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("The watchdog of systemd is not served", "err", err)
	}
	return &Service{watchdog: watchdog, log: log, send: func(state string) error {
		_, err := daemon.SdNotify(false, state)
		return err
	}}
}

// notify sends a state, unless the service is stopping. Its caller holds the mutex.
func (s *Service) notify(lines ...string) {
	if s.stopping {
		return
	}
	if err := s.send(strings.TrimSpace(strings.Join(lines, "\n"))); err != nil {
		s.log.Warn("Reporting to systemd failed", "err", err)
	}
}

// Ready reports that the start is complete: units that are ordered after this one are started.
func (s *Service) Ready() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = true
	s.notify(daemon.SdNotifyReady)
}

// Status sets the line that systemctl status shows.
func (s *Service) Status(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = text
	s.notify(statusLine(text))
}

func statusLine(text string) string { return "STATUS=" + strings.ReplaceAll(text, "\n", "; ") }

// Reload runs f, which reloads the configuration, and reports its begin and its end. The status shows its error until the next reload.
func (s *Service) Reload(f func() error) {
	s.mu.Lock()
	reported := s.ready // before, the end of a reload would be reported as the end of the start
	if reported {
		s.notify(daemon.SdNotifyReloading, daemon.SdNotifyMonotonicUsec())
	}
	s.mu.Unlock()
	err := f()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !reported:
	case err != nil:
		s.notify(daemon.SdNotifyReady, statusLine("Reloading failed: "+err.Error()))
	default:
		s.notify(daemon.SdNotifyReady, statusLine(s.status))
	}
}

// Stopping reports that the service stops. Nothing is reported afterwards.
func (s *Service) Stopping() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notify(daemon.SdNotifyStopping)
	s.stopping = true
}

// Watch serves the watchdog of systemd until ctx ends: it calls turn twice in the watchdog's interval, and each nil that it returns in
// time is reported as a sign of life. turn must run through the loop of the program, so that systemd ends a program whose loop hangs.
func (s *Service) Watch(ctx context.Context, turn func(ctx context.Context) error) {
	if s.watchdog <= 0 {
		return
	}
	each := time.NewTicker(s.watchdog / 2)
	defer each.Stop()
	for ctx.Err() == nil {
		s.live(ctx, turn)
		select {
		case <-ctx.Done():
		case <-each.C:
		}
	}
}

func (s *Service) live(ctx context.Context, turn func(ctx context.Context) error) {
	inTime, stop := context.WithTimeout(ctx, s.watchdog/2)
	defer stop()
	if err := turn(inTime); err != nil {
		if ctx.Err() == nil {
			s.log.Error("The loop does not answer: systemd ends this program unless it does soon", "watchdog", s.watchdog, "err", err)
		}
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notify(daemon.SdNotifyWatchdog)
}
