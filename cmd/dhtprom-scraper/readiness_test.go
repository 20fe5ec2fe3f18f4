package main

import (
	"net/netip"
	"strings"
	"testing"
)

func TestScraperWithoutADHTIsNotReadyAndSaysWhy(t *testing.T) {
	p := startProcess(t, nil, "--storage.path="+t.TempDir(), "--web.listen-address=127.0.0.1:0",
		"--dht.bootstrap=127.0.0.1:1", "--dht.listen-address=127.0.0.1:0")
	web := "http://" + p.until(listening)[1]
	p.until(`level=WARN msg=network-lost err="no DHT node answers, 1 bootstrap node tried".* hint=`)
	if code, body := httpGet(t, web+"/-/ready"); code != 503 || !strings.Contains(body, "no DHT node answers") {
		t.Errorf("/-/ready: %d %s", code, body)
	}
	_, body := httpGet(t, web+"/metrics")
	for _, want := range []string{"dhtprom_ready 0", "dhtprom_dht_online 0", "dhtprom_dht_nodes 0", "dhtprom_announced_nodes 0"} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	p.stop()
	if strings.Contains(p.said.String(), "Accepting registrations") {
		t.Error("it says that it accepts registrations")
	}
}

func TestScraperWhoseBootstrapAddressIsItsOwnSaysSo(t *testing.T) {
	port := freePorts(t, 1)
	own := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port)).String()
	p := startProcess(t, nil, "--storage.path="+t.TempDir(), "--web.listen-address=127.0.0.1:0",
		"--dht.bootstrap="+own, "--dht.listen-address="+own)
	p.until(`msg=network-lost .*the bootstrap address ` + own + ` is this node's own`)
	p.stop()
}
