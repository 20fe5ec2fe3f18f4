package jspeer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Args are the arguments of a command, as peer.js names them.
type Args map[string]any

// Peer is a node process that runs peer.js, owned by one test.
type Peer struct {
	t testing.TB
	*process
}

type process struct {
	cmd    *exec.Cmd
	ended  chan struct{} // closed when the process has exited and all its output was read
	stderr lockedBuffer

	mu      sync.Mutex
	stdin   io.WriteCloser
	calls   map[int]chan json.RawMessage
	last    int
	events  []Event // not awaited yet, oldest first
	changed chan struct{}
	killed  bool
}

// Error is the error of a failed command.
type Error struct {
	Command string
	Message string
	Code    string // as the packages name it, such as PEER_NOT_FOUND
}

func (e *Error) Error() string {
	if e.Code == "" {
		return e.Command + ": " + e.Message
	}
	return e.Command + ": " + e.Message + " (" + e.Code + ")"
}

// ErrEnded is the error of commands of a process that has exited.
var ErrEnded = errors.New("jspeer: the process has ended")

// Event is an unsolicited message of a peer.
type Event struct {
	Name string `json:"event"`
	Of   int    `json:"of"` // the handle of its subject
	line json.RawMessage
}

// Decode decodes the attributes of an event into a struct.
func (e Event) Decode(facts any) error { return json.Unmarshal(e.line, facts) }

// String returns the event as the peer printed it.
func (e Event) String() string { return string(e.line) }

// Start starts a peer that ends with the test.
func Start(t testing.TB) *Peer {
	t.Helper()
	dir := Require(t)
	p := &Peer{t: t, process: &process{
		cmd: exec.Command("node", filepath.Join(dir, "peer.js")), ended: make(chan struct{}),
		calls: map[int]chan json.RawMessage{}, changed: make(chan struct{}),
	}}
	p.cmd.Dir = dir
	p.cmd.Stderr = &p.stderr
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdin = stdin
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("starting a peer: %v", err)
	}
	go p.read(stdout)
	t.Cleanup(p.cleanup)
	p.Await("ready", nil)
	return p
}

// For returns the peer for a subtest: its failures fail the subtest.
func (p *Peer) For(t testing.TB) *Peer { return &Peer{t: t, process: p.process} }

func (p *Peer) cleanup() {
	died := false
	select {
	case <-p.ended:
		died = !p.killed
	default:
	}
	p.Kill()
	if text := p.stderr.String(); died || p.t.Failed() && text != "" {
		p.t.Logf("error output of a JavaScript peer (ended by itself: %v):\n%s", died, tail(text))
	}
	if died {
		p.t.Errorf("a JavaScript peer ended by itself: %v", p.cmd.ProcessState)
	}
}

// Kill ends the process at once, as a crash does, and waits until it has exited.
func (p *Peer) Kill() {
	p.mu.Lock()
	p.killed = true
	p.mu.Unlock()
	_ = p.cmd.Process.Kill() // it may have exited by itself
	<-p.ended
}

// read reads the output of the process until it ends.
func (p *process) read(stdout io.Reader) {
	lines := bufio.NewScanner(stdout)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	for lines.Scan() {
		p.take(bytes.Clone(lines.Bytes()))
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintf(&p.stderr, "reading the peer's output: %v\n", err)
	}
	_ = p.cmd.Wait() // the exit status is in ProcessState
	p.mu.Lock()
	close(p.ended)
	p.mu.Unlock()
}

func (p *process) take(line []byte) {
	var head struct {
		Call  int    `json:"call"`
		Event string `json:"event"`
		Of    int    `json:"of"`
	}
	if err := json.Unmarshal(line, &head); err != nil {
		fmt.Fprintf(&p.stderr, "not a line of peer.js: %s\n", line)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if head.Event == "" {
		if answer := p.calls[head.Call]; answer != nil {
			delete(p.calls, head.Call)
			answer <- line
		}
		return
	}
	if len(p.events) < maxEvents {
		p.events = append(p.events, Event{Name: head.Event, Of: head.Of, line: line})
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// Call runs a command and decodes its answer into result, which may be nil. It fails the test if the command fails or does
// not answer within CallTimeout.
func (p *Peer) Call(command string, args Args, result any) {
	p.t.Helper()
	if err := p.Try(command, args, result); err != nil {
		p.t.Fatal(err)
	}
}

// Try is Call for commands that may fail: it returns an *Error if the command failed.
func (p *Peer) Try(command string, args Args, result any) error {
	return p.Go(command, args)(result)
}

// Go starts a command and returns a function that waits for its answer, as Try does.
func (p *Peer) Go(command string, args Args) (wait func(result any) error) {
	answer := make(chan json.RawMessage, 1)
	p.mu.Lock()
	p.last++
	id := p.last
	p.calls[id] = answer
	line := map[string]any{}
	for name, value := range args {
		line[name] = value
	}
	line["call"], line["do"] = id, command
	text, err := json.Marshal(line)
	if err == nil {
		_, err = p.stdin.Write(append(text, '\n'))
	}
	p.mu.Unlock()

	timeout := time.NewTimer(CallTimeout)
	return func(result any) error {
		defer timeout.Stop()
		if err != nil {
			return fmt.Errorf("%s: %w", command, err)
		}
		select {
		case line := <-answer:
			return decode(command, line, result)
		case <-p.ended:
			select {
			case line := <-answer:
				return decode(command, line, result)
			default:
				return fmt.Errorf("%s: %w", command, ErrEnded)
			}
		case <-timeout.C:
			return fmt.Errorf("%s: no answer within %v", command, CallTimeout)
		}
	}
}

func decode(command string, line json.RawMessage, result any) error {
	var failure struct {
		Error *string `json:"error"`
		Code  string  `json:"code"`
	}
	if err := json.Unmarshal(line, &failure); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	if failure.Error != nil {
		return &Error{Command: command, Message: *failure.Error, Code: failure.Code}
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(line, result); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	return nil
}

// Await waits for an event that match accepts, or any of that name if match is nil, removes it from the list and returns
// it. Earlier events count; others stay. It fails the test if none comes within CallTimeout.
func (p *Peer) Await(name string, match func(Event) bool) Event {
	p.t.Helper()
	timeout := time.NewTimer(CallTimeout)
	defer timeout.Stop()
	for {
		p.mu.Lock()
		for i, e := range p.events {
			if e.Name == name && (match == nil || match(e)) {
				p.events = append(p.events[:i:i], p.events[i+1:]...)
				p.mu.Unlock()
				return e
			}
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-p.ended:
			p.t.Fatalf("waiting for %s: %v", name, ErrEnded)
		case <-timeout.C:
			p.t.Fatalf("no event %s within %v; there were %v", name, CallTimeout, p.Events())
		}
	}
}

// Of accepts the events of a handle, for Await.
func Of(handle int) func(Event) bool { return func(e Event) bool { return e.Of == handle } }

// Events returns the events that were not awaited so far.
func (p *Peer) Events() []Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Event(nil), p.events...)
}

// Count returns the number of events with a name that were not awaited so far.
func (p *Peer) Count(name string) int {
	n := 0
	for _, e := range p.Events() {
		if e.Name == name {
			n++
		}
	}
	return n
}

// lockedBuffer is a buffer that a process writes while a test reads.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
