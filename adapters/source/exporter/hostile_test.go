package exporter_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/domain"
)

// answering listens, and answers each request with some bytes. The connections stay open until the test ends or their client closes them.
func answering(t *testing.T, answer func(io.Writer)) (url string, closed <-chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{}, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				in := bufio.NewReader(c)
				if _, err := http.ReadRequest(in); err != nil {
					return
				}
				answer(c)
				_, _ = in.ReadByte()
				gone <- struct{}{}
			}()
		}
	}()
	t.Cleanup(func() { _ = l.Close() })
	return "http://" + l.Addr().String() + "/metrics", gone
}

// Whatever an exporter answers, its scrape ends with a reason, in time, and so does its connection.
func TestHostileExportersEndTheirOwnScrapeOnly(t *testing.T) {
	send := func(text string) func(io.Writer) { return func(w io.Writer) { _, _ = io.WriteString(w, text) } }
	const long = 8 * time.Second
	for name, test := range map[string]struct {
		answer func(io.Writer)
		within time.Duration
		fault  domain.Fault
		want   string
	}{
		// net/http leaves such a connection to its caller, with no deadline.
		"another protocol": {send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"), long, domain.FaultExporter, "exporter answered 101"},
		"status 099":       {send("HTTP/1.1 099 Odd\r\n\r\n"), long, domain.FaultExporter, "exporter answered 099"},
		"status 000":       {send("HTTP/1.1 000 Odd\r\nContent-Length: 0\r\n\r\n"), long, domain.FaultExporter, "exporter answered 000"},
		"no HTTP":          {send("220 mail\r\n"), long, domain.FaultExporter, "no answer of the exporter"},
		"an endless header": {func(w io.Writer) {
			_, _ = io.WriteString(w, "HTTP/1.1 200 OK\r\n")
			for {
				if _, err := io.WriteString(w, "A: "+strings.Repeat("a", 1000)+"\r\n"); err != nil {
					return
				}
			}
		}, long, domain.FaultExporter, "no answer of the exporter"},
		"a long header": {send("HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 100_000) + "\r\n\r\n"), long, domain.FaultExporter, "no answer of the exporter"},
		"endless informational responses": {func(w io.Writer) {
			for {
				if _, err := io.WriteString(w, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"); err != nil {
					return
				}
			}
		}, long, domain.FaultExporter, "no answer of the exporter"},
		"an endless body": {func(w io.Writer) {
			_, _ = io.WriteString(w, "HTTP/1.1 200 OK\r\n\r\n")
			for {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		}, long, domain.FaultClient, "metrics are 67162100 bytes or more, the limit is 67108864"},
		"a head without a body":     {send("HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n"), 50 * time.Millisecond, domain.FaultTime, "no answer of the exporter within 50ms"},
		"half a head":               {send("HTTP/1.1 200 OK\r\nContent-Le"), 50 * time.Millisecond, domain.FaultTime, "no answer of the exporter within 50ms"},
		"a body that does not end":  {send("HTTP/1.1 200 OK\r\n\r\nup 1\n"), 50 * time.Millisecond, domain.FaultTime, "no answer of the exporter within 50ms"},
		"a negative content length": {send("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nup 1\n"), long, domain.FaultExporter, "no answer of the exporter"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target, closed := answering(t, test.answer)
			l := make(loop, 8)
			r := as()
			r.Within = test.within
			began := time.Now()
			_, err := get(l, scrapes(t, l, target, nil), r)
			if reported, ok := errors.AsType[*domain.ScrapeError](err); !ok || reported.Fault != test.fault || reported.Reason != test.want {
				t.Errorf("%v, reported %+v", err, reported)
			}
			if took := time.Since(began); took > test.within+5*time.Second {
				t.Errorf("it took %s", took)
			}
			select {
			case <-closed:
			case <-time.After(20 * time.Second):
				t.Error("the connection stays open")
			}
		})
	}
}
