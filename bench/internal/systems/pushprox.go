package systems

import (
	"fmt"
	"net/url"
	"os/exec"
	"path/filepath"

	"github.com/dhtprom/dhtprom/bench/internal/load"
)

// PushProx starts a proxy and a client for each target, with the programs pushprox-proxy and pushprox-client of a folder, or those
// in PATH if it is empty. The exporters have a port.
func (r *Running) PushProx(programs string, targets, port int) (*load.Way, error) {
	way, err := r.pushProx(programs, targets, port)
	if err != nil {
		return nil, fmt.Errorf("PushProx: %w", err)
	}
	return way, nil
}

func (r *Running) pushProx(programs string, targets, port int) (*load.Way, error) {
	find := func(name string) (string, error) {
		if programs == "" {
			return exec.LookPath(name)
		}
		return filepath.Abs(filepath.Join(programs, name))
	}
	proxy, err := find("pushprox-proxy")
	if err != nil {
		return nil, err
	}
	client, err := find("pushprox-client")
	if err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	through := &url.URL{Scheme: "http", Host: address}
	way := &load.Way{Name: "PushProx", HTTP: load.NewClient(through), URL: ExporterURL(port)}
	c, err := r.Run("pushprox-proxy", proxy, "--web.listen-address="+address, "--log.level=error")
	if err != nil {
		return nil, err
	}
	way.Programs = append(way.Programs, c)
	for i := range targets {
		c, err := r.Run("pushprox-"+Alias(i), client, "--proxy-url=http://"+address+"/", "--fqdn="+exporterAddress(i), "--metrics-addr=", "--log.level=error",
			"--proxy.retry.initial-wait=100ms")
		if err != nil {
			return nil, err
		}
		way.Programs = append(way.Programs, c)
	}
	return way, nil
}
