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

// FreeAddress returns an unused TCP address on loopback.
func FreeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// nextPort is the position at which FreePorts continues, so that tests that run at the same time get different ones.
var nextPort atomic.Int64

// FreePorts finds consecutive unused UDP ports on loopback, below the ephemeral ones, and returns the first.
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
	var err error
	for port := base; port < base+n && err == nil; port++ {
		var c *net.UDPConn
		c, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err == nil {
			err = errors.Join(err, c.Close())
		}
	}
	return err == nil
}
