package packaging_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/dhtprom/dhtprom/interop/process"
	"github.com/dhtprom/dhtprom/interop/tool"
)

// composition is a Compose file, as far as deploy/compose.yml uses the format. Fields that are not here are errors.
type composition struct {
	Name     string
	Image    any `yaml:"x-image"`
	Keys     any `yaml:"x-keys"`
	Services map[string]container
	Networks map[string]struct {
		IPAM struct{ Config []struct{ Subnet string } } `yaml:"ipam"`
	}
	Volumes map[string]struct{}
}

type container struct {
	Image, Build, Restart string
	ReadOnly              bool     `yaml:"read_only"`
	CapDrop               []string `yaml:"cap_drop"`
	SecurityOpt           []string `yaml:"security_opt"`
	Entrypoint, Command   []string
	DependsOn             dependencies `yaml:"depends_on"`
	Volumes, Ports        []string
	Environment           map[string]string
	StopGracePeriod       string `yaml:"stop_grace_period"`
	Networks              map[string]struct {
		Address string `yaml:"ipv4_address"`
		Aliases []string
	}
	Healthcheck struct {
		Test              []string
		Interval, Timeout string
		Retries           int
	}
}

// dependencies are the conditions of other services, by name.
type dependencies map[string]string

func (d *dependencies) UnmarshalYAML(node *yaml.Node) error {
	*d = dependencies{}
	if node.Kind == yaml.SequenceNode {
		var names []string
		err := node.Decode(&names)
		for _, name := range names {
			(*d)[name] = "service_started"
		}
		return err
	}
	var conditions map[string]struct{ Condition string }
	err := node.Decode(&conditions)
	for name, c := range conditions {
		(*d)[name] = c.Condition
	}
	return err
}

// engine runs the services of a composition as processes on one machine: a container's address becomes a free one, and its folders
// those of the test.
type engine struct {
	t         *testing.T
	of        composition
	entry     []string // of the image of this repository
	env       []string
	addresses map[string]string // by service and port
	volumes   map[string]string
	variables map[string]string // of the .env file
	running   map[string]*process.Process
}

func newEngine(t *testing.T, file string) *engine {
	t.Helper()
	e := &engine{t: t, addresses: map[string]string{}, volumes: map[string]string{}, running: map[string]*process.Process{}}
	decoder := yaml.NewDecoder(strings.NewReader(content(t, file)))
	decoder.KnownFields(true)
	if err := decoder.Decode(&e.of); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	docker := content(t, "Dockerfile")
	entry := regexp.MustCompile(`(?m)^ENTRYPOINT (.*)$`).FindStringSubmatch(docker)
	env := regexp.MustCompile(`(?m)^ENV (.*)$`).FindStringSubmatch(docker)
	if entry == nil || env == nil {
		t.Fatal("the Dockerfile has no ENTRYPOINT or ENV")
	}
	if err := json.Unmarshal([]byte(entry[1]), &e.entry); err != nil {
		t.Fatal(err)
	}
	e.env = strings.Fields(env[1])
	for volume := range e.of.Volumes {
		e.volumes[volume] = t.TempDir()
	}
	return e
}

// address returns that of a port of a service. The DHT has nodes on the ports after it, too.
func (e *engine) address(service, port string) string {
	service = e.named(service)
	name := service + ":" + port
	if _, known := e.addresses[name]; !known {
		e.addresses[name] = process.FreeAddress(e.t)
		if service == "dht" {
			e.addresses[name] = fmt.Sprintf("127.0.0.1:%d", process.FreePorts(e.t, 4))
		}
	}
	return e.addresses[name]
}

// named returns the service with a name, the first one of those that share it.
func (e *engine) named(name string) string {
	for _, service := range slices.Sorted(maps.Keys(e.of.Services)) {
		if slices.Contains(e.of.Services[service].Networks["default"].Aliases, name) {
			return service
		}
	}
	return name
}

var (
	anywhere  = regexp.MustCompile(`\b0\.0\.0\.0:(\d+)`)
	variable  = regexp.MustCompile(`\$\{([A-Z_]+):\?[^}]*\}`)
	elsewhere = regexp.MustCompile(`([a-z0-9.-]+):(\d+)\b`)
	here      = regexp.MustCompile(`=:(\d+)$`)
)

// local replaces the addresses and paths of a service by those of the test.
func (e *engine) local(service, text string) string {
	e.t.Helper()
	c := e.of.Services[service]
	for name, other := range e.of.Services {
		if ip := other.Networks["default"].Address; ip != "" {
			text = strings.ReplaceAll(text, ip+":", name+":")
			if name == service {
				text = strings.ReplaceAll(text, "--host="+ip, "--host=127.0.0.1")
				if port, is := strings.CutPrefix(text, "--port="); is {
					_, free, _ := strings.Cut(e.address(name, port), ":")
					text = "--port=" + free
				}
			}
		}
	}
	text = anywhere.ReplaceAllString(text, service+":$1")
	text = here.ReplaceAllStringFunc(text, func(s string) string { return "=" + e.address(service, s[2:]) })
	text = elsewhere.ReplaceAllStringFunc(text, func(s string) string {
		name, port, _ := strings.Cut(s, ":")
		if _, known := e.of.Services[e.named(name)]; !known {
			return s
		}
		return e.address(name, port)
	})
	for _, mount := range c.Volumes {
		parts := strings.Split(mount, ":")
		path := regexp.MustCompile(`(^|[= \[])` + regexp.QuoteMeta(parts[1]) + `(/|\]|\s|$)`)
		if !path.MatchString(text) {
			continue
		}
		at, named := e.volumes[parts[0]]
		if !named {
			at = e.file(service, parts[0])
		}
		text = path.ReplaceAllString(text, "${1}"+at+"${2}")
	}
	return text
}

// file copies a mounted file.
func (e *engine) file(service, name string) string {
	e.t.Helper()
	path := filepath.Join(e.t.TempDir(), filepath.Base(name))
	text := e.local(service, content(e.t, filepath.Join("deploy", name)))
	if strings.Contains(text, "scrape_configs:") { // the default intervals are a minute
		text = "global: {scrape_interval: 1s}\n" + strings.Replace(text, "/sd/prometheus'}", "/sd/prometheus', refresh_interval: 1s}", 1)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		e.t.Fatal(err)
	}
	return path
}

// command returns the command of a service.
func (e *engine) command(service string, words []string) process.Command {
	e.t.Helper()
	c := e.of.Services[service]
	line := process.Command{}
	switch image, _, _ := strings.Cut(c.Image, ":"); image {
	case "ghcr.io/dhtprom/dhtprom":
		line.Path = strings.TrimPrefix(words[0], "/")
		words = words[1:]
		if !slices.Contains(names, line.Path) {
			e.t.Fatalf("%s runs %s, which the image does not have", service, line.Path)
		}
		for _, v := range e.env {
			line.Env = append(line.Env, e.local(service, v))
		}
	case "quay.io/coreos/etcd":
		line.Path = tool.Require(e.t, "etcd")
	case "quay.io/prometheus/prometheus":
		line.Path = tool.Require(e.t, "prometheus")
	case "quay.io/prometheus/node-exporter":
		line.Path = tool.Require(e.t, "prometheus-node-exporter", "node_exporter")
	default:
		e.t.Fatalf("%s: unknown image %s", service, image)
	}
	for name, value := range c.Environment {
		value = variable.ReplaceAllStringFunc(value, func(s string) string { return e.variables[variable.FindStringSubmatch(s)[1]] })
		line.Env = append(line.Env, name+"="+value)
	}
	for _, word := range words {
		line.Args = append(line.Args, e.local(service, word))
	}
	return line
}

// start starts a service after those that it depends on.
func (e *engine) start(service string) {
	e.t.Helper()
	if e.running[service] != nil {
		return
	}
	c, known := e.of.Services[service]
	if !known {
		e.t.Fatalf("there is no service %s", service)
	}
	for name, condition := range c.DependsOn {
		e.start(name)
		e.await(name, condition)
	}
	words := c.Command
	if strings.HasPrefix(c.Image, "ghcr.io/") {
		entry := c.Entrypoint
		if entry == nil {
			entry = e.entry
		}
		words = slices.Concat(entry, c.Command)
	}
	for _, mount := range c.Volumes {
		source, _, _ := strings.Cut(mount, ":")
		if _, named := e.of.Volumes[source]; named {
			continue
		}
		if _, err := os.Stat(filepath.Join(process.Top(e.t), "deploy", source)); err != nil {
			e.t.Errorf("%s: %v", service, err)
		}
	}
	e.running[service] = process.Start(e.t, e.command(service, words))
}

func (e *engine) await(service, condition string) {
	e.t.Helper()
	switch condition {
	case "service_started":
	case "service_completed_successfully":
		if code := e.running[service].Wait(); code != 0 {
			e.t.Fatalf("%s ended with code %d", service, code)
		}
	case "service_healthy":
		test := e.of.Services[service].Healthcheck.Test
		if len(test) < 2 || test[0] != "CMD" {
			e.t.Fatalf("%s has no check of its health: %q", service, test)
		}
		check := e.command(service, test[1:])
		process.Until(e.t, service+" is healthy", func() error {
			cmd := exec.Command(filepath.Join(process.Programs(e.t), check.Path), check.Args...)
			cmd.Env = append(os.Environ(), check.Env...)
			out, err := cmd.CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
	default:
		e.t.Fatalf("unknown condition %q of %s", condition, service)
	}
}

// startAll starts all services, and checks that those with published ports answer there.
func (e *engine) startAll() {
	e.t.Helper()
	for _, service := range slices.Sorted(maps.Keys(e.of.Services)) {
		e.start(service)
	}
	for service, c := range e.of.Services {
		for _, port := range c.Ports {
			parts := strings.Split(port, ":")
			if len(parts) != 3 || parts[0] != "127.0.0.1" {
				e.t.Errorf("%s is published to others: %s", service, port)
				continue
			}
			process.Until(e.t, "the published port of "+service, func() error {
				_, err := process.Get("http://" + e.address(service, parts[2]) + "/metrics")
				return err
			})
		}
	}
}

// query returns the labels of the result of a query to Prometheus.
func (e *engine) query(expr string) (series []map[string]string, err error) {
	body, err := process.Get("http://" + e.address("prometheus", "9090") + "/api/v1/query?query=" + url.QueryEscape(expr))
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data struct {
			Result []struct{ Metric map[string]string }
		}
	}
	err = json.Unmarshal(body, &answer)
	for _, r := range answer.Data.Result {
		series = append(series, r.Metric)
	}
	return series, err
}

// awaitTargets waits until Prometheus scrapes targets: the job, and before it for clients the name.
func (e *engine) awaitTargets(want ...string) {
	e.t.Helper()
	slices.Sort(want)
	process.Until(e.t, "Prometheus scrapes all", func() error {
		series, err := e.query("up == 1")
		if err != nil {
			return err
		}
		var up []string
		for _, s := range series {
			if job := s["job"]; job == "dhtprom-scraper" {
				up = append(up, job)
			} else {
				up = append(up, s["instance"]+" "+job)
			}
		}
		if slices.Sort(up); !slices.Equal(up, want) {
			return fmt.Errorf("up: %q, want %q", up, want)
		}
		return nil
	})
}

// The commands of the file, in the order of its dependencies, make what its first lines promise.
func TestCompositionScrapesBothClients(t *testing.T) {
	process.Need(t, "prometheus")
	e := newEngine(t, "deploy/compose.yml")
	arrived := process.Containers.Begin(t)
	e.startAll()
	e.awaitTargets("dhtprom-scraper", "camera dhtprom", "laptop node")
	arrived()
	prometheus := "http://" + e.address("prometheus", "9090")
	if rules, err := process.Get(prometheus + "/api/v1/rules"); err != nil || !strings.Contains(string(rules), "DhtpromTargetExpiresSoon") {
		t.Errorf("Prometheus has no alerts: %s, %v", rules, err)
	}
	if invite, err := os.Stat(filepath.Join(e.volumes["invites"], "client.invite")); err != nil || invite.Mode().Perm() != 0o600 {
		t.Errorf("the invite: %v, %v", invite, err)
	}
	if _, err := os.Stat(filepath.Join(e.volumes["invites"], "identity.seed")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the clients see the seed of the scraper: %v", err)
	}
}

// A volume of Docker gets the owner of the image's folder, and all programs are the image's user.
func TestImageHasTheFoldersThatItsUserWrites(t *testing.T) {
	e := newEngine(t, "deploy/compose.yml")
	docker := content(t, "Dockerfile")
	for service, c := range e.of.Services {
		for _, mount := range c.Volumes {
			parts := strings.Split(mount, ":")
			if _, named := e.volumes[parts[0]]; !named || !strings.HasPrefix(c.Image, "ghcr.io/dhtprom/") {
				continue
			}
			if !strings.Contains(docker, "--chown=65534:65534 /out/data "+parts[1]+"\n") {
				t.Errorf("%s: the image has no %s that its user may write to", service, parts[1])
			}
		}
	}
}

// The members of a group find each other, scrape the client, and go on when one is stopped. The dashboard of groups finds all that it asks
// for.
func TestGroupCompositionSurvivesAMember(t *testing.T) {
	process.Need(t, "prometheus")
	e := newEngine(t, "deploy/compose-group.yml")
	e.variables = map[string]string{}
	for line := range strings.SplitSeq(process.Run(t, process.Command{Path: "dhtprom-scraper", Args: []string{"keygen"}}), "\n") { // as the first lines of the file
		name, value, _ := strings.Cut(line, ":")
		if v := map[string]string{"seed": "DHTPROM_IDENTITY_SEED", "secret": "DHTPROM_SECRET"}[name]; v != "" {
			e.variables[v] = strings.TrimSpace(value)
		}
	}
	e.startAll()
	e.awaitTargets("dhtprom-scraper", "dhtprom-scraper", "dhtprom-scraper", "camera dhtprom")
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(content(t, "mixin/dashboards/group.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	variables := strings.NewReplacer("$__rate_interval", "1m", "$__range", "1h", "$job", "dhtprom-scraper", "$instance", ".*")
	asked := 0
	for _, p := range dashboard.Panels {
		for _, q := range p.Targets {
			asked++
			process.Until(t, "the panel "+p.Title, func() error {
				series, err := e.query(variables.Replace(q.Expr))
				if err == nil && len(series) == 0 {
					err = fmt.Errorf("nothing is found by %s", q.Expr)
				}
				return err
			})
		}
	}
	if asked < 15 {
		t.Errorf("%d queries asked", asked)
	}
	e.running["scraper-2"].Stop()
	e.awaitTargets("dhtprom-scraper", "dhtprom-scraper", "camera dhtprom")
}
