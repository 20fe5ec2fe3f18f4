package main

import (
	"bytes"
	"io"
	"testing"
)

func parsed(t *testing.T, env map[string]string, args ...string) *flags {
	t.Helper()
	for k, v := range env {
		t.Setenv(k, v)
	}
	f := newFlags(io.Discard)
	if _, err := f.parse(args); err != nil {
		t.Fatal(err)
	}
	return f
}

// The variables are those of run.js in both generations of the bridge.
func TestEnvironmentOfTheBridgeIsUnderstood(t *testing.T) {
	for _, prefix := range []string{"DHT_PROM_", "HYPERDHT_PROM_"} {
		t.Run(prefix, func(t *testing.T) {
			f := parsed(t, map[string]string{
				prefix + "HTTP_PORT": "40000", prefix + "HTTP_HOST": "0.0.0.0", prefix + "PROMETHEUS_TARGETS_LOC": "/sd/targets.json",
				prefix + "DHT_PORT": "49999", prefix + "BOOTSTRAP_PORT": "4001", prefix + "LOG_LEVEL": "trace",
			})
			r := f.run
			if (*r.web.WebListenAddresses)[0] != "0.0.0.0:40000" || len(*r.web.WebListenAddresses) != 1 || r.scraper.TargetsFile != "/sd/targets.json" ||
				r.node.Listen.String() != "0.0.0.0:49999" || len(r.node.Bootstrap) != 1 || r.node.Bootstrap[0] != "127.0.0.1:4001" {
				t.Errorf("%+v, web %v", r, *r.web.WebListenAddresses)
			}
			var log bytes.Buffer
			f.app.Logger(&log).Debug("seen")
			if log.Len() == 0 {
				t.Error("trace is not debug")
			}
		})
	}
}

func TestOwnSettingsBeatThoseOfTheBridge(t *testing.T) {
	r := parsed(t, map[string]string{
		"DHT_PROM_HTTP_PORT": "40000", "DHTPROM_WEB_LISTEN_ADDRESS": "127.0.0.1:1", "DHT_PROM_DHT_PORT": "2", "HYPERDHT_PROM_DHT_PORT": "3",
	}, "--dht.bootstrap=5").run
	if (*r.web.WebListenAddresses)[0] != "127.0.0.1:1" || r.node.Bootstrap[0] != "127.0.0.1:5" {
		t.Errorf("%+v", r)
	}
	if r.node.Listen.Port() != 3 {
		t.Errorf("of both names the older one won: %s", r.node.Listen)
	}
	if r.scraper.TargetsFile != "./prometheus/targets.json" {
		t.Errorf("targets %q, the bridge has its own default", r.scraper.TargetsFile)
	}
}

func TestNothingIsTakenFromTheBridgeWhereThereIsNone(t *testing.T) {
	if r := parsed(t, nil).run; r.scraper.TargetsFile != "" || (*r.web.WebListenAddresses)[0] != defaultAddress {
		t.Errorf("%+v", r)
	}
}
