package deploy_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	core "k8s.io/api/core/v1"

	"github.com/dhtprom/dhtprom/interop/process"
	"github.com/dhtprom/dhtprom/interop/tool"
)

// node runs the containers of a cluster as processes on one machine: a port of a pod becomes a free one, and its volumes folders of the
// test.
type node struct {
	*cluster
	dht     string            // address of the private DHT
	scraper string            // address of the scraper's HTTP server
	data    string            // volume of the scraper
	pod     string            // its name
	etcd    string            // URLs, for a group
	secrets map[string]string // by NAME/KEY
}

var variable = regexp.MustCompile(`\$\(([A-Z_]+)\)`)

// env returns the environment of a container.
func (n *node) env(c *core.Container) map[string]string {
	n.t.Helper()
	env := map[string]string{}
	expanded := func(text string) string {
		return variable.ReplaceAllStringFunc(text, func(v string) string { return env[v[2:len(v)-1]] })
	}
	for _, v := range c.Env {
		env[v.Name] = expanded(v.Value) // by those before it
		switch from := v.ValueFrom; {
		case from == nil:
		case from.SecretKeyRef != nil && n.secrets[from.SecretKeyRef.Name+"/"+from.SecretKeyRef.Key] != "":
			env[v.Name] = n.secrets[from.SecretKeyRef.Name+"/"+from.SecretKeyRef.Key]
		case from.FieldRef != nil:
			value, known := map[string]string{"status.podIP": "127.0.0.1", "metadata.name": n.pod, "spec.nodeName": "node-1"}[from.FieldRef.FieldPath]
			if !known {
				n.t.Errorf("%s: unknown field %s", c.Name, from.FieldRef.FieldPath)
			}
			env[v.Name] = value
		default:
			n.t.Errorf("%s: %s is from elsewhere", c.Name, v.Name)
		}
	}
	return env
}

// start starts a container of our image, whose HTTP server is at web.
func (n *node) start(c *core.Container, web string, replace ...string) *process.Process {
	n.t.Helper()
	command := process.Command{Path: "dhtprom-scraper"} // the ENTRYPOINT of the image
	if len(c.Command) > 0 {
		command.Path = strings.TrimPrefix(c.Command[0], "/")
	}
	env := n.env(c)
	if at, set := env["DHTPROM_DHT_BOOTSTRAP"]; set {
		host, port, _ := strings.Cut(at, ":")
		if s := n.service(host); s == nil || port != fmt.Sprint(s.Spec.Ports[0].Port) {
			n.t.Errorf("%s enters the DHT at %s", c.Name, at)
		}
		env["DHTPROM_DHT_BOOTSTRAP"] = n.dht
	}
	n.localize(env, web)
	local := strings.NewReplacer(append(replace, "=:30001", "="+web, "=127.0.0.1:30001", "="+web)...)
	for _, arg := range c.Args {
		command.Args = append(command.Args, local.Replace(variable.ReplaceAllStringFunc(arg, func(v string) string { return env[v[2:len(v)-1]] })))
	}
	for _, mount := range c.VolumeMounts {
		if mount.MountPath == "/var/lib/dhtprom" { // DHTPROM_STORAGE_PATH of the image
			command.Env = append(command.Env, "DHTPROM_STORAGE_PATH="+n.data)
		}
	}
	command.Env = append(command.Env, "DHTPROM_SCRAPER_WEB_LISTEN_ADDRESS="+web) // :30000 in the image
	for name, value := range env {
		command.Env = append(command.Env, name+"="+value)
	}
	return process.Start(n.t, command)
}

// probe waits until the probes of a container succeed.
func (n *node) probe(c *core.Container, web string) {
	n.t.Helper()
	for _, probe := range []*core.Probe{c.ReadinessProbe, c.LivenessProbe} {
		if probe == nil {
			continue
		}
		process.Until(n.t, c.Name+" answers its probes", func() error {
			_, err := process.Get("http://" + web + probe.HTTPGet.Path)
			return err
		})
	}
}

// container returns the container that runs a program with a first argument.
func (n *node) container(name string) *core.Container {
	n.t.Helper()
	for _, w := range n.workloads {
		for i := range w.pod.Spec.Containers {
			if c := &w.pod.Spec.Containers[i]; isOurs(c) && c.Name == name {
				return c
			}
		}
	}
	n.t.Fatalf("there is no container %s", name)
	return nil
}

func (c *cluster) newNode() *node {
	c.t.Helper()
	return &node{cluster: c, data: c.t.TempDir(), scraper: process.FreeAddress(c.t), pod: "pod-0", secrets: map[string]string{}}
}

// startDHT runs the private DHT.
func (n *node) startDHT() {
	n.t.Helper()
	port := fmt.Sprint(process.FreePorts(n.t, 4))
	n.dht = "127.0.0.1:" + port
	n.start(n.container("dht"), "", "--port=49737", "--port="+port).Await("Running DHT nodes")
}

// run runs the private DHT and the scraper, and then all clients, and checks that they are scraped.
func (c *cluster) run(way process.Way) {
	c.t.Helper()
	arrived := way.Begin(c.t)
	n := c.newNode()
	n.startDHT()
	scraper := n.container("scraper")
	n.start(scraper, n.scraper).Await("Accepting registrations")
	n.probe(scraper, n.scraper)
	file := filepath.Join(c.t.TempDir(), "invite")
	process.Run(c.t, process.Command{Path: "dhtprom-scraper", Args: []string{"invite", "--storage.path=" + n.data, "--dht.bootstrap=" + n.dht, "--output=" + file}})
	invite, err := os.ReadFile(file)
	if err != nil {
		c.t.Fatal(err)
	}
	n.secrets["dhtprom-invite/invite"] = string(invite)

	exporter := process.FreeAddress(c.t)
	started := false
	var aliases []string
	for _, w := range c.workloads {
		for i := range w.pod.Spec.Containers {
			container := &w.pod.Spec.Containers[i]
			switch {
			case strings.Contains(container.Image, "/node-exporter:") && !started:
				started = true
				process.Start(c.t, process.Command{Path: tool.Require(c.t, "prometheus-node-exporter", "node_exporter"), Args: []string{"--web.listen-address=" + exporter}})
			case isOurs(container) && container.Name == "dhtprom-client":
				web := process.FreeAddress(c.t)
				n.start(container, web, "127.0.0.1:9100", exporter).Await("Serving metrics")
				n.probe(container, web)
				aliases = append(aliases, map[string]string{"Deployment": "shop/pod-0", "DaemonSet": "node/node-1"}[w.kind])
			}
		}
	}
	if len(aliases) != 2 {
		c.t.Errorf("%q are clients", aliases)
	}
	for _, alias := range aliases {
		process.Until(c.t, "the metrics of "+alias, func() error {
			page, err := process.Get("http://" + n.scraper + "/scrape/" + alias + "/metrics")
			if err == nil && !strings.Contains(string(page), "node_") {
				err = fmt.Errorf("%.200s", page)
			}
			return err
		})
	}
	arrived()
	targets, err := process.Get("http://" + n.scraper + "/sd/prometheus")
	var groups []struct{ Labels map[string]string }
	if err != nil || json.Unmarshal(targets, &groups) != nil || len(groups) != 2 {
		c.t.Errorf("%s, %v", targets, err)
	}
}
