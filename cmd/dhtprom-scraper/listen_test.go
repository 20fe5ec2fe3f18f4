package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
)

func TestDHTPortThatIsTakenIsAnErrorThatNamesIt(t *testing.T) {
	taken, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := fmt.Sprint(taken.LocalAddr().(*net.UDPAddr).Port)
	for _, args := range [][]string{
		{"run", "--web.listen-address=127.0.0.1:0", "--dht.listen-address=127.0.0.1:" + port, "--dht.bootstrap=127.0.0.1:1"},
		{"relay", "--dht.listen-address=127.0.0.1:" + port, "--dht.bootstrap=127.0.0.1:1"},
		{"bootstrap", "--host=127.0.0.1", "--port=" + port},
	} {
		if args[0] != "bootstrap" {
			args = append(args, "--storage.path="+t.TempDir())
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		var out, errs bytes.Buffer
		code := start(ctx, args, &out, &errs)
		if ctx.Err() != nil || code != cli.Failed {
			t.Errorf("%s ended with %d: %v", args[0], code, ctx.Err())
		}
		cancel()
		for _, want := range []string{"127.0.0.1:" + port, "port"} {
			if !strings.Contains(errs.String(), want) {
				t.Errorf("%s says %q, which lacks %q", args[0], errs.String(), want)
			}
		}
	}
}
