package web_test

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dhtprom/dhtprom/adapters/web"
)

// Requests that are sent one after the other without reading an answer cost what the first one does, and end with it.
func TestPipelinedRequestsHoldOneAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, h := overPipesWith(t, &http.Protocols{})
		c := l.dial()
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			_, _ = io.WriteString(c, strings.Repeat("GET /scrape/web/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 10_000))
		}()
		synctest.Wait()
		if n := h.Held(); n != 100_000 {
			t.Errorf("%d bytes are held", n)
		}
		l.served(t, "beside pipelined requests")
		time.Sleep(web.RequestTimeout)
		if !ended(c, 0) {
			t.Error("the connection stays")
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		<-sent
		if n := h.Held(); n != 0 {
			t.Errorf("then %d bytes are held", n)
		}
	})
}

// No other protocol is supported: a request to upgrade is answered as one without it.
func TestUpgradesAreNotTaken(t *testing.T) {
	for _, header := range []string{
		"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
		"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
		"Expect: 100-continue\r\nContent-Length: 5\r\n",
	} {
		synctest.Test(t, func(t *testing.T) {
			l := overPipes(t)
			c := l.dial()
			defer c.Close()
			if _, err := io.WriteString(c, "GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n"+header+"\r\n"); err != nil {
				t.Fatal(err)
			}
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != http.StatusOK || res.Header.Get("Upgrade") != "" {
				t.Errorf("%q is answered with %s, Upgrade %q", header, res.Status, res.Header.Get("Upgrade"))
			}
		})
	}
}
