package sim

import (
	"cmp"
	"errors"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
)

// tries are the attempts at one operation. They are checked against a backoff of the checker's own: each wait at least half
// of a step that doubles from a second to a minute, and a renewal not long before its time.
type tries struct {
	failed    int             // since the last success
	notBefore time.Duration   // the next attempt, unless there was news
	early     []time.Duration // attempts before that time, the last earlyBurst
	nudged    time.Duration   // when there was news of the other side
	doubted   bool            // since then, a connection gave no sign of life
	opened    time.Duration   // when the connection opened; 0 for none
	seen      time.Duration   // when the last one ended; 0 for none
	at        []time.Duration // within retryWindow
	renewed   []time.Duration // likewise, successes and news, which restart the waits

	next nextDial

	// A client also registers when its scraper holds no connection to it.
	holds   int           // connections
	since   time.Duration // when the first of them opened
	missed  int           // registrations for lack of one, since one lasted
	missing time.Duration // when the next such one may come
	silent  bool          // the last of them was closed because its peer was silent
	unmet   int           // registrations because no other member of the scraper's group has connected, since a connection lasted
	awaits  bool          // missing is for one

	interval time.Duration // of renewals
	known    bool          // the other side has a known address
}

// nextDial is the next dial of a scraper, as announced after a failed one.
type nextDial struct {
	due   time.Duration // 0 for none
	begun time.Duration // when the failed one was due; 0 if that was not announced
	late  bool          // due is not bounded by recentWait: no connection was open within recentFor
}

func (ch *checker) triesOf(what string) *tries {
	t := ch.tries[what]
	if t == nil {
		t = &tries{nudged: -time.Hour, missing: never}
		ch.tries[what] = t
	}
	return t
}

// leastWait returns the shortest wait after a number of failures in a row, less a tolerance for drifting clocks.
func leastWait(failed int) time.Duration {
	step := min(retryMin<<min(max(failed-1, 0), 16), retryMax)
	return tolerant(max(retryMin, step/2))
}

func tolerant(d time.Duration) time.Duration { return d * 95 / 100 }

// attempt handles an attempt.
func (ch *checker) attempt(m *machine, what string) {
	now := ch.w.net.Now()
	if ch.watching != "" && strings.HasSuffix(what, ch.watching) {
		second := int((now - ch.since) / time.Second)
		for len(ch.seconds) <= second {
			ch.seconds = append(ch.seconds, 0)
		}
		ch.seconds[second]++
	}
	t := ch.triesOf(what)
	if now < t.notBefore && t.holds == 0 && now >= t.missing {
		if t.awaits {
			t.unmet++
		} else {
			t.missed++
		}
		t.missing, t.awaits = never, false
	} else if now < t.notBefore {
		switch {
		case !ch.w.stirred(m):
			ch.w.fail("retries", "%s %v too early, although nothing has happened to its network", what, t.notBefore-now)
		case len(t.early) == earlyBurst && now-t.early[0] < earlyEvery:
			ch.w.fail("retries", "%s %v too early, and %d times in the %v before", what, t.notBefore-now, earlyBurst, now-t.early[0])
		}
		t.early = append(t.early[max(0, len(t.early)-earlyBurst+1):], now)
	}
	t.count(now)
	limit := maxAttempts + attemptsPerRenewal*len(t.renewed) + ch.w.earliesOf(m)
	if t.known {
		limit += int(2 * retryWindow / knownRetryMax)
	}
	if t.interval > 0 && t.interval < retryMax { // the longest wait of all
		limit += int(2 * retryWindow / t.interval)
	}
	if t.seenWithin(now, recentFor+retryWindow) {
		limit += recentAttempts
	}
	if len(t.at) > limit {
		ch.w.fail("retries", "%s %d times in %v, %d are the most", what, len(t.at), retryWindow, limit)
	}
}

// count records an attempt, and forgets old ones.
func (t *tries) count(now time.Duration) {
	t.at = append(lately(t.at, now), now)
	t.renewed = lately(t.renewed, now)
}

func lately(at []time.Duration, now time.Duration) []time.Duration {
	for len(at) > 0 && now-at[0] > retryWindow {
		at = at[1:]
	}
	return at
}

// earliesOf returns how often a machine may have tried early within retryWindow.
func (w *World) earliesOf(m *machine) int {
	if m.stir == 0 || w.net.Now()-m.stir > retryWindow+settleWithin {
		return 0
	}
	return earlyBurst + int(retryWindow/earlyEvery)
}

// failedTo handles a failed attempt, which is repeated after wait.
func (ch *checker) failedTo(what string, err error, wait, most time.Duration) {
	t, now := ch.triesOf(what), ch.w.net.Now()
	if e, ok := errors.AsType[*ports.ConnectionError](err); ok && e.Busy && wait >= cmp.Or(e.RetryAfter, busyWait) {
		t.notBefore = now + tolerant(cmp.Or(e.RetryAfter, busyWait))
		return
	}
	t.failed++
	least := min(leastWait(t.failed), tolerant(most))
	if wait < least {
		ch.w.fail("retries", "%s again in %v after %d failures, %v is the least", what, wait, t.failed, least)
	}
	t.notBefore = now + least
}

// worked handles a successful attempt. The next one is due after interval.
func (ch *checker) worked(what string, interval time.Duration) {
	t, now := ch.triesOf(what), ch.w.net.Now()
	t.failed, t.interval = 0, interval
	t.renewed = append(t.renewed, now)
	t.notBefore = now + tolerant(interval-interval/renewSpread)
	t.missing, t.awaits = never, false // it is known to the scraper
}

// awaitsMember allows a registration after a while without a connection, because another member of the scraper's group is to connect.
func (ch *checker) awaitsMember(what string) {
	t, now := ch.triesOf(what), ch.w.net.Now()
	if t.holds == 0 {
		t.missing, t.awaits = now+leastOf(elsewhereMin, t.unmet, t.interval), true
	}
}

// leastMissing returns the shortest time without a connection of its scraper after which a client registers, when it has
// done so a number of times for that reason. The waits double up to the renewal interval.
func (t *tries) leastMissing() time.Duration {
	return leastOf(missingMin, t.missed, t.interval)
}

// leastOf returns the shortest wait that has doubled a number of times from least up to most.
func leastOf(least time.Duration, doubled int, most time.Duration) time.Duration {
	step := min(least<<min(doubled, 16), max(most, least))
	return tolerant(max(least, step/2))
}

// held handles the opening of a scraper's connection to a client.
func (ch *checker) held(what string) {
	t := ch.triesOf(what)
	if t.holds++; t.holds == 1 {
		t.since = ch.w.net.Now()
	}
}

// unheld handles the end of one; unfound means that the scraper cannot dial the client.
func (ch *checker) unheld(what string, unfound bool) {
	t, now := ch.triesOf(what), ch.w.net.Now()
	if t.holds--; t.holds > 0 {
		return
	}
	if now-t.since >= stableAfter {
		t.missed, t.unmet = 0, 0
	}
	t.awaits = false
	t.missing = now + t.leastMissing()
	if t.silent {
		t.missing -= missingMin
	}
	if unfound {
		t.missing = now + tolerant(min(retryMin<<min(t.missed, 16), unfoundMax)/2)
	}
	t.silent = false
}

// dialFailed handles a failed dial of a scraper, which waits before the next one.
func (ch *checker) dialFailed(m *machine, what string, err error, wait time.Duration) {
	t, now := ch.triesOf(what), ch.w.net.Now()
	if t.opened > 0 && now-t.opened >= stableAfter {
		t.failed, t.notBefore = 0, 0
	}
	if t.opened > 0 {
		t.opened, t.seen = 0, now
	}
	t.next = nextDial{due: now + wait, begun: t.next.due, late: !t.seenWithin(now, tolerant(recentFor))}
	if now-t.nudged <= nudgeTakes || ch.w.stirred(m) { // a scraper that has moved starts over with all its clients
		t.failed, t.notBefore = 0, 0
	}
	ch.attempt(m, what)
	most := time.Hour
	if t.seenWithin(now, recentFor) {
		most = recentWait
	}
	ch.failedTo(what, err, wait, most)
	if now-t.nudged <= nudgeTakes {
		t.failed, t.notBefore = 0, 0 // the news was wrong, and the dial is repeated at once
		if late, ok := errors.AsType[*domain.TimeoutError](err); ok && late.Waiting == aSignOfLife && !t.doubted {
			t.nudged, t.doubted = now, true // once: the next one is not doubted again without news
		}
	}
}

// seenWithin reports whether the last connection ended within a time.
func (t *tries) seenWithin(now, within time.Duration) bool { return t.seen > 0 && now-t.seen < within }

// lateDial returns the time of a scraper's next dial of a client if recentWait does not bound the wait for it, since no connection was open
// within recentFor. It returns 0 otherwise, and if a dial that was due after the healing has failed.
func (ch *checker) lateDial(s *scraper, c *client, healed time.Duration) time.Duration {
	t := ch.tries[s.name+" dials "+ch.w.nameOf(c.keys.Public)]
	if t == nil || !t.next.late || t.next.begun > healed {
		return 0
	}
	return t.next.due
}

// nudge handles news about a peer that is being dialled.
func (ch *checker) nudge(what string) {
	t, now := ch.triesOf(what), ch.w.net.Now()
	t.failed, t.notBefore, t.nudged, t.doubted, t.next.due = 0, 0, now, false, 0
	t.renewed = append(t.renewed, now)
}

// startOver forgets failed dials: their session has ended, and another one begins with the shortest wait.
func (ch *checker) startOver(what string) {
	t := ch.triesOf(what)
	t.failed, t.notBefore, t.opened, t.seen, t.next.due = 0, 0, 0, 0, 0
}

// dialled handles a successful dial, beside another connection where the session goes over to a better path.
func (ch *checker) dialled(what string) {
	t, now := ch.triesOf(what), ch.w.net.Now()
	if t.opened > 0 && now-t.opened >= stableAfter {
		t.failed, t.notBefore = 0, 0
	}
	t.opened = now
}

// restarted forgets the waits of a machine's program: a new one may try at once.
func (ch *checker) restarted(m *machine) {
	for what, t := range ch.tries {
		if strings.HasPrefix(what, m.name+" ") {
			t.failed, t.notBefore, t.opened, t.seen, t.next.due, t.early = 0, 0, 0, 0, 0, nil
			t.holds, t.missed, t.unmet, t.missing, t.awaits = 0, 0, 0, never, false
		}
	}
}

// stirs records a change of a machine's network, or that it woke: it may try at once instead of later.
func (w *World) stirs(all ...*machine) {
	for _, m := range all {
		m.stir = max(w.net.Now(), 1)
	}
}

// stirred reports whether a machine's network has changed lately, or goes on changing.
func (w *World) stirred(m *machine) bool {
	// A node that others can reach finds that out when it has been up for long (dht-rpc index.js).
	if !m.reachable && m.up() && !m.node.Status().Ephemeral {
		m.reachable = true
		w.stirs(m)
	}
	return w.check.unrest || m.stir > 0 && w.net.Now()-m.stir <= settleWithin
}

// watch counts attempts at something from now on, in every second.
func (ch *checker) watch(what string) {
	ch.watching, ch.since, ch.seconds = what, ch.w.net.Now(), nil
}

// watched ends watch.
func (ch *checker) watched() []int {
	ch.watching = ""
	return ch.seconds
}
