package web

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/domain"
)

const (
	// maxPhrase bounds the reason phrase of a status line, in bytes.
	maxPhrase = 200
	// phraseTime bounds the writing of an answer that has one.
	phraseTime = 5 * time.Second
)

// phrase is the reason of a failed scrape for the status line, all of which Prometheus shows on its page of targets: one line of ASCII.
func phrase(alias domain.Alias, err error, took time.Duration) string {
	reason := err.Error()
	if known := domain.Explain(err, domain.PeerClient); known.Text != "" {
		reason = known.String() + " [" + string(known.Cause) + "]"
	}
	if remote, ok := errors.AsType[*domain.RemoteError](err); ok {
		reason = remote.Message
	}
	at := fmt.Sprintf(" (client %.60s, %s)", alias, roughly(took))
	return ascii(reason, maxPhrase-len(ascii(at, maxPhrase))) + ascii(at, maxPhrase)
}

// roughly rounds a duration to what is of interest.
func roughly(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(100 * time.Millisecond)
}

// ascii returns text as at most limit printable characters of ASCII.
func ascii(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r < ' ' || r == 0x7f:
			return ' '
		case r > 0x7f:
			return '?'
		}
		return r
	}, text)
	return text[:min(len(text), limit)]
}

// failScrape answers a failed scrape with a reason phrase of its own in the status line, where the protocol has one: over HTTP/1, on a
// connection that can be taken over. It closes the connection then.
func failScrape(w http.ResponseWriter, r *http.Request, code int, text, phrase string) {
	if r.ProtoMajor != 1 {
		line(w, code, text)
		return
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		line(w, code, text)
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(phraseTime))
	h := w.Header().Clone()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Connection", "close")
	h.Set("Content-Length", fmt.Sprint(len(text)+1))
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", code, phrase)
	_ = h.Write(&b) // a builder does not fail
	b.WriteString("\r\n")
	if r.Method != http.MethodHead {
		b.WriteString(text + "\n")
	}
	_, _ = conn.Write([]byte(b.String()))
}
