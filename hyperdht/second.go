package hyperdht

import (
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/internal/stream"
	"github.com/dhtprom/dhtprom/ports/host"
)

// secondWay keeps the relay of a connection on a direct path, and the direct path of one that the relay has taken over. Both
// sides send questions on the way in reserve, which keeps it open and shows whether it works. A question is a heartbeat with a number,
// and is answered on the way that it came on, by an acknowledgement with that number. Peers of earlier versions leave it out.
//
// After a stall, such as a retransmission timeout, copies are sent on the way in reserve for a while. The peer, which receives nothing else,
// answers with copies. The connection moves to that way when a packet on it has decrypted and nothing has come on the other one
// since the stall; when stalls become frequent; or when the direct path answers long after the relay. It returns to the direct
// path once that has answered several times in a row; the delay grows with the number of times it had to leave it.
//
// Packets in flight keep their size. If the new way is too narrow for them, the connection ends with a
// BlackHoleError within seconds, and the next one begins with small packets.
//
// Each side decides for what it sends, since a path may be dead in one direction only.
type secondWay struct {
	rp   *relayPath
	c    *Connection
	path Path   // the kind of the direct path
	keep func() // releases the direct path's socket while the relay carries the connection

	worked bool          // it has answered
	retry  time.Duration // the delay before the last attempt to join the relay again

	timer   host.Timer // the next question, or judgement
	judging bool
	questions
	took   roundTrips
	streak int // answers in a row
	late   int // questions that the direct path has not answered by long after the relay, less those that it has answered since

	copies  host.Timer // the end of copying
	stalls  stallLog
	proof   host.Instant // time of the last message on the way in reserve
	alone   host.Instant // time of the first one after which nothing has come on the other way
	heard   host.Instant // time of the last packet on the way in reserve
	holding holdOff
}

// keepSecond starts the questions on the relay.
func (rp *relayPath) keepSecond() {
	w := rp.second
	rp.raw.KeepSpare(rp.way(), w)
	w.askNow()
}

// way returns the way over the relay.
func (rp *relayPath) way() stream.Way {
	return stream.Way{Socket: rp.link.conn.raw.Socket(), RemoteID: rp.remoteID, Remote: rp.link.conn.raw.RemoteAddr()}
}

func (w *secondWay) now() host.Instant { return w.rp.p.host.Now() }

// ready reports whether the connection may change ways.
func (w *secondWay) ready() bool {
	return w.c.open && !w.c.closed && !w.rp.raw.Limited() && w.rp.in(relayWarm, relayCarrying)
}

// ask sends a question on the way in reserve, and one on the direct path to compare.
func (w *secondWay) ask() {
	now := w.now()
	if len(w.open) > 0 {
		w.streak, w.late = 0, 0
	}
	w.both = w.add(now)
	if !w.rp.in(relayCarrying) {
		w.rp.raw.KeepSpare(w.rp.way(), w) // its socket changes when the connection to the relay moves
		w.rp.raw.Ask(w.both.number)
	}
	w.rp.raw.AskSpare(w.both.number)
	w.dueIn(w.pause)
	w.pause = min(2*w.pause, askPause)
}

// askSpare sends a question on the way in reserve.
func (w *secondWay) askSpare() { w.rp.raw.AskSpare(w.add(w.now()).number) }

// askNow sends a question now, and the next one soon.
func (w *secondWay) askNow() {
	w.pause, w.judging = askAgain, false
	w.ask()
}

func (w *secondWay) dueIn(d time.Duration) {
	if w.timer == nil {
		w.timer = w.rp.p.host.AfterFunc(d, w.due)
		return
	}
	w.timer.Reset(d)
}

func (w *secondWay) due() {
	if w.judging {
		w.judging = false
		w.judge()
		return
	}
	w.ask()
}

// SpareHeard is called for each heartbeat on the way in reserve.
func (w *secondWay) SpareHeard() { w.heard = w.now() }

// SpareAnswered is called for each other packet on the way in reserve, with the number of the question that it answers, or 0.
func (w *secondWay) SpareAnswered(question uint32) {
	w.heard = w.now()
	if i := w.find(question); i >= 0 && !w.rp.over() {
		w.answered(i)
	}
}

// MainAnswered is called for each acknowledgement on the way in use, with the number of the question that it answers, or 0.
func (w *secondWay) MainAnswered(question uint32) { w.answeredOnMain(question, w.now()) }

// answered handles an answer to the open question i.
func (w *secondWay) answered(i int) {
	rtt, certain := w.answer(i, w.now())
	if certain {
		w.dueIn(askAgain)
	} else {
		w.dueIn(w.pause)
	}
	if w.rp.in(relayCarrying) {
		w.directAnswered(rtt, certain)
	} else {
		w.relayAnswered(rtt, certain)
	}
}

// directAnswered counts an answer of the direct path while the relay carries the connection.
func (w *secondWay) directAnswered(rtt time.Duration, certain bool) {
	if w.streak++; !certain || rtt > w.took.muchLonger() {
		w.streak = 0
	}
	if certain && w.named {
		w.took.directly(rtt) // or the first answer after the return would be the measure, even of a path that is slow by then
	}
	if w.streak >= returnStreak && w.holding.over(w.now()) && w.ready() {
		w.giveBack()
	}
}

// relayAnswered records that the relay in reserve works, and waits for the answer of the direct path.
func (w *secondWay) relayAnswered(rtt time.Duration, certain bool) {
	w.worked = true
	if w.rp.in(relayWarm) {
		w.retry = 0 // the relay has not only paired, but keeps answering
	}
	w.rp.onAbort = func(error) {}
	w.rp.become(relayWarm)
	if !certain {
		return
	}
	w.took.byRelay(rtt)
	w.judging = true
	w.dueIn(max(w.took.muchLonger()-w.now().Sub(w.both.asked), 0))
}

// judge runs when the direct path should have answered, too.
func (w *secondWay) judge() {
	if !w.onMain.Before(w.both.asked) {
		w.took.directly(w.onMain.Sub(w.both.asked))
		if w.late > 0 { // perhaps, from an earlier version, an acknowledgement of something else, which took long as well
			w.late--
			w.dueIn(askLater)
			return
		}
		w.pause = askPause
		w.dueIn(askPause - w.rp.p.someOf(askPause/4)) // in step with a keep-alive, its acknowledgement would look like an unnamed answer
		return
	}
	if w.late++; w.late >= maxLate && w.ready() {
		w.takeOver()
		return
	}
	w.pause = askLater
	w.dueIn(askLater)
}

// Stalled is called at each sign that the way in use is dead or bad; see udx.Machine.Stalls.
func (w *secondWay) Stalled() {
	if !w.ready() {
		return
	}
	w.stalls.add(stall{at: w.now(), suspect: w.rp.raw.Suspect()})
	w.duplicate()
	switch {
	case w.proof.After(w.rp.raw.HeardOnMain()):
		w.change()
	case w.stalls.frequent() && w.heard.After(w.stalls.first()):
		w.narrow()
		w.change()
	default:
		w.askSpare()
	}
}

// narrow makes streams to the peer begin with smaller packets if the large ones were lost and others have arrived.
func (w *secondWay) narrow() {
	if w.rp.raw.HeardOnMain().After(w.stalls.first()) && w.stalls.allLarge() {
		w.rp.raw.Narrow(w.stalls.latest().suspect)
	}
}

// duplicate sends copies of the stream's packets on the way in reserve, for copyTime.
func (w *secondWay) duplicate() {
	w.rp.raw.SetCopyToSpare(true)
	if w.copies == nil {
		w.copies = w.rp.p.host.AfterFunc(copyTime, func() { w.rp.raw.SetCopyToSpare(false) })
		return
	}
	w.copies.Reset(copyTime)
}

// proved is called when a message has decrypted.
func (w *secondWay) proved() {
	if !w.ready() || !w.rp.raw.ViaSpare() {
		return
	}
	now, main := w.now(), w.rp.raw.HeardOnMain()
	if !w.alone.After(main) {
		w.alone = now
	}
	w.proof = now
	switch {
	case w.stalls.latest().at.After(main):
		w.change()
	case now.Sub(main) >= quietTime && now.Sub(w.alone) < aloneTime:
		w.duplicate()
	}
}

// change swaps the two ways.
func (w *secondWay) change() {
	if w.rp.in(relayCarrying) {
		w.giveBack()
		return
	}
	w.takeOver()
}

func (w *secondWay) takeOver() {
	direct := w.rp.raw.Socket()
	keep := w.rp.p.pool.ref(direct)
	if w.rp.raw.Swap() != nil {
		keep()
		return
	}
	w.keep, w.path = keep, w.c.path
	w.rp.become(relayCarrying)
	w.rp.p.stats.TakeOvers++
	w.holding.begin(w.now())
	w.swapped(PathRelayed)
}

func (w *secondWay) giveBack() {
	if w.rp.raw.Swap() != nil {
		return
	}
	w.rp.become(relayWarm)
	w.holding.end(w.now())
	w.swapped(w.path)
	w.keep()
	w.keep = nil
}

// swapped resets the measurements after a swap.
func (w *secondWay) swapped(path Path) {
	w.c.moved(w.rp.raw.Socket(), path)
	w.stalls = stallLog{}
	w.streak, w.late, w.open, w.judging = 0, 0, nil, false
	w.proof, w.alone = 0, 0
	w.pause = askAgain
	w.dueIn(askAgain)
}

// silence returns the time since the last packet on the direct path while the relay carries the connection; 0 while it does not.
func (w *secondWay) silence() time.Duration {
	if !w.rp.in(relayCarrying) {
		return 0
	}
	return w.now().Sub(max(w.rp.since, w.heard))
}

// nextTry returns the delay before the next attempt to join the relay again.
func (w *secondWay) nextTry() time.Duration {
	w.retry = min(max(2*w.retry, relayDefer), maxDefer)
	return w.retry
}

// end is called when the relay is left.
func (w *secondWay) end() {
	if w.timer != nil {
		w.timer.Stop()
	}
	if w.copies != nil {
		w.copies.Stop()
	}
	if w.keep == nil {
		w.rp.raw.DropSpare()
		return
	}
	if !w.c.closed && w.rp.raw.Swap() == nil {
		w.c.moved(w.rp.raw.Socket(), w.path)
	}
	w.rp.raw.DropSpare()
	w.keep()
	w.keep = nil
}
