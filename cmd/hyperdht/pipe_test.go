package main

import (
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/keyfile"
)

func TestPassphrasesAreTheSeed(t *testing.T) {
	seed := keyfile.NewSeed()
	text := formatPassphrase(seed)
	for _, s := range []string{text, strings.ToUpper(text)} {
		if got, err := parsePassphrase(s); err != nil || got.RevealText() != seed.RevealText() {
			t.Errorf("%v", err)
		}
	}
	for _, s := range []string{"", "x", text[1:], text + "a", text + "\n", text[:51] + "\n", text[:51] + "1", strings.Repeat("1", 52)} {
		if _, err := parsePassphrase(s); err == nil || s != "" && strings.Contains(err.Error(), s) && len(s) > 1 {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// listening starts a side of a pipe that listens, and returns the passphrase that it printed.
func listening(t *testing.T, stdin io.Reader, args ...string) (p *running, passphrase string) {
	t.Helper()
	p = runs(t, stdin, append([]string{"pipe"}, args...)...)
	return p, p.says(`hyperdht pipe ([a-z2-7]{52})\n`)
}

func TestPipesCarryBothInputsToTheirEnds(t *testing.T) {
	in := private(t)
	large := strings.Repeat("from there to here ", 50_000)
	there, passphrase := listening(t, strings.NewReader(large), in()...)
	if got := succeeds(t, "from here to there", in("pipe", passphrase)...); got != large {
		t.Errorf("%d bytes came for %d", len(got), len(large))
	}
	if b, err := io.ReadAll(there.out); err != nil || string(b) != "from here to there" {
		t.Errorf("%q, %v", b, err)
	}
	if code := there.end(); code != cli.OK {
		t.Errorf("the side that listens ended with %d: %s", code, there.errs.String())
	}
}

func TestPipesAdmitTheirPassphraseAlone(t *testing.T) {
	in := private(t)
	_, passphrase := listening(t, strings.NewReader(""), in()...)
	seed, err := parsePassphrase(passphrase)
	if err != nil {
		t.Fatal(err)
	}
	isRejected(t, in("ping", keysOf(seed).Public.String())...)
}

// One side ends its direction at once: the other one is carried to its end all the same.
func TestPipesCarryOneInputAfterTheOther(t *testing.T) {
	in := private(t)
	r, w := io.Pipe()
	there, passphrase := listening(t, r, in()...)
	var once sync.WaitGroup
	once.Go(func() {
		if got := succeeds(t, "early", in("pipe", passphrase)...); got != "late" {
			t.Errorf("got %q", got)
		}
	})
	early := make([]byte, len("early"))
	if _, err := io.ReadFull(there.out, early); err != nil || string(early) != "early" {
		t.Errorf("%q, %v", early, err)
	}
	if _, err := io.WriteString(w, "late"); err != nil {
		t.Error(err)
	}
	_ = w.Close()
	once.Wait()
}

func TestPipesListenAgainUnderTheirPassphrase(t *testing.T) {
	in := private(t)
	passphrase := formatPassphrase(keyfile.NewSeed())
	there, printed := listening(t, strings.NewReader("again"), in("--listen", passphrase)...)
	if printed != passphrase {
		t.Errorf("printed %s", printed)
	}
	t.Setenv(passphraseEnv, passphrase)
	if got := succeeds(t, "", in("pipe")...); got != "again" {
		t.Errorf("got %q", got)
	}
	if code := there.end(); code != cli.OK {
		t.Errorf("ended with %d: %s", code, there.errs.String())
	}
}

func TestPipesWithoutASideThatListens(t *testing.T) {
	in := private(t)
	o := does(t, "", in("pipe", formatPassphrase(keyfile.NewSeed()))...)
	if o.code != cli.Failed || !strings.Contains(o.errs, "--listen") {
		t.Errorf("%+v", o)
	}
	t.Setenv(passphraseEnv, "hunter2")
	o = does(t, "", in("pipe")...)
	if o.code != cli.Failed || !strings.Contains(o.errs, passphraseEnv) || strings.Contains(o.errs, "hunter2") {
		t.Errorf("%+v", o)
	}
}

// said is the error output of a command that runs.
type said struct {
	mu      sync.Mutex
	text    string
	changed chan struct{} // closed when there is more
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text += string(b)
	close(s.changed)
	s.changed = make(chan struct{})
	return len(b), nil
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text
}

// says waits until the error output matches a pattern, and returns its first group.
func (r *running) says(pattern string) string {
	r.t.Helper()
	re := regexp.MustCompile(pattern)
	for {
		r.errs.mu.Lock()
		text, changed := r.errs.text, r.errs.changed
		r.errs.mu.Unlock()
		if m := re.FindStringSubmatch(text); m != nil {
			return m[1]
		}
		select {
		case <-changed:
		case code := <-r.code:
			r.code <- code
			r.t.Fatalf("ended with %d: %s", code, text)
		}
	}
}
