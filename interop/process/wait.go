package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

// Until polls wrong until it returns nil. It fails the test if that takes too long.
func Until(t testing.TB, what string, wrong func() error) {
	t.Helper()
	begin := time.Now()
	ticks := time.NewTicker(again)
	defer ticks.Stop()
	for {
		err := wrong()
		if err == nil {
			return
		}
		if time.Since(begin) > Patience {
			t.Fatalf("%s: not within %v: %v", what, Patience, err)
		}
		<-ticks.C
	}
}

// Get requests a page. Any status but 200 is an error, which quotes the page.
func Get(url string) ([]byte, error) {
	ctx, stop := context.WithTimeout(context.Background(), requestTimeout)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %.300s", url, resp.Status, body)
	}
	return body, err
}

// FreeAddress returns an unused address on loopback, for TCP or UDP. Its port is not an ephemeral one: those that a program has not bound
// yet are given to connections.
func FreeAddress(t testing.TB) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", FreePorts(t, 1))
}

// nextPort is the position at which FreePorts continues, so that tests that run at the same time get different ones.
var nextPort atomic.Int64

// FreePorts finds consecutive unused ports on loopback, of TCP and UDP, below the ephemeral ones, and returns the first.
func FreePorts(t testing.TB, n int) int {
	t.Helper()
	const first, ports = 20000, 10000
	for range ports / n {
		base := first + (os.Getpid()*n*7+int(nextPort.Add(int64(n))))%(ports-n)
		if portsAreFree(base, n) {
			return base
		}
	}
	t.Fatal("no free ports")
	return 0
}

func portsAreFree(base, n int) bool {
	for port := base; port < base+n; port++ {
		at := fmt.Sprintf("127.0.0.1:%d", port)
		c, err := net.ListenPacket("udp4", at)
		if err != nil {
			return false
		}
		l, err := net.Listen("tcp4", at)
		if err == nil {
			err = l.Close()
		}
		if errors.Join(err, c.Close()) != nil {
			return false
		}
	}
	return true
}
