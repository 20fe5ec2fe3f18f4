package deploy_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	operator "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	operatoralpha "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1alpha1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// cluster are the objects of manifests.
type cluster struct {
	t         *testing.T
	workloads []workload
	services  []*core.Service
	policies  []*networking.NetworkPolicy
	budgets   []*policy.PodDisruptionBudget
	monitors  []*operator.ServiceMonitor
	configs   []*operatoralpha.ScrapeConfig
}

// workload is anything with pods.
type workload struct {
	kind, name, service string
	selector            *meta.LabelSelector
	pod                 *core.PodTemplateSpec
	claims              []core.PersistentVolumeClaim
}

// add decodes an object, which must have no field that its type does not have.
func (c *cluster) add(manifest []byte) {
	c.t.Helper()
	var kind meta.TypeMeta
	decode := func(into any) {
		c.t.Helper()
		text, err := yaml.YAMLToJSONStrict(manifest)
		var faults []error
		if err == nil {
			faults, err = json.UnmarshalStrict(text, into) // as the API server does, which distinguishes cases
		}
		if err = errors.Join(append(faults, err)...); err != nil {
			c.t.Errorf("%s %s: %v\n%s", kind.APIVersion, kind.Kind, err, manifest)
		}
	}
	if err := yaml.Unmarshal(manifest, &kind); err != nil {
		c.t.Fatalf("%v\n%s", err, manifest)
	}
	switch kind.APIVersion + " " + kind.Kind {
	case "apps/v1 StatefulSet":
		var o apps.StatefulSet
		decode(&o)
		c.workloads = append(c.workloads, workload{kind.Kind, o.Name, o.Spec.ServiceName, o.Spec.Selector, &o.Spec.Template, o.Spec.VolumeClaimTemplates})
	case "apps/v1 Deployment":
		var o apps.Deployment
		decode(&o)
		c.workloads = append(c.workloads, workload{kind.Kind, o.Name, "", o.Spec.Selector, &o.Spec.Template, nil})
	case "apps/v1 DaemonSet":
		var o apps.DaemonSet
		decode(&o)
		c.workloads = append(c.workloads, workload{kind.Kind, o.Name, "", o.Spec.Selector, &o.Spec.Template, nil})
	case "v1 Service":
		o := &core.Service{}
		decode(o)
		c.services = append(c.services, o)
	case "networking.k8s.io/v1 NetworkPolicy":
		o := &networking.NetworkPolicy{}
		decode(o)
		c.policies = append(c.policies, o)
	case "policy/v1 PodDisruptionBudget":
		o := &policy.PodDisruptionBudget{}
		decode(o)
		c.budgets = append(c.budgets, o)
	case "monitoring.coreos.com/v1 ServiceMonitor":
		o := &operator.ServiceMonitor{}
		decode(o)
		c.monitors = append(c.monitors, o)
	case "monitoring.coreos.com/v1alpha1 ScrapeConfig":
		o := &operatoralpha.ScrapeConfig{}
		decode(o)
		c.configs = append(c.configs, o)
	default:
		c.t.Errorf("unknown kind of object: %s\n%s", kind, manifest)
	}
}

// selected reports whether labels are all of a selection, which is not empty.
func selected(selection, labels map[string]string) bool {
	for name, value := range selection {
		if labels[name] != value {
			return false
		}
	}
	return len(selection) > 0
}

// pods returns the pods of a selection.
func (c *cluster) pods(selection map[string]string) (pods []*core.PodTemplateSpec) {
	for _, w := range c.workloads {
		if selected(selection, w.pod.Labels) {
			pods = append(pods, w.pod)
		}
	}
	return pods
}

// service returns the service of a host name: NAME.NAMESPACE.svc.
func (c *cluster) service(host string) *core.Service {
	c.t.Helper()
	for _, s := range c.services {
		if s.Name+"."+s.Namespace+".svc" == host {
			return s
		}
	}
	c.t.Errorf("no service is called %s", host)
	return nil
}

// hasPort reports whether a pod has a port by this name or number.
func hasPort(pod *core.PodTemplateSpec, port intstr.IntOrString) bool {
	return slices.ContainsFunc(pod.Spec.Containers, func(c core.Container) bool {
		return slices.ContainsFunc(c.Ports, func(p core.ContainerPort) bool { return p.Name == port.StrVal || p.ContainerPort == port.IntVal })
	})
}

// check checks that the objects refer to each other.
func (c *cluster) check() {
	c.t.Helper()
	for _, w := range c.workloads {
		c.checkWorkload(w)
	}
	for _, s := range c.services {
		pods := c.pods(s.Spec.Selector)
		if len(pods) != 1 {
			c.t.Errorf("service %s selects %d kinds of pods", s.Name, len(pods))
			continue
		}
		for _, p := range s.Spec.Ports {
			if !hasPort(pods[0], p.TargetPort) {
				c.t.Errorf("service %s: the pods have no port %s", s.Name, p.TargetPort.String())
			}
		}
	}
	for _, p := range c.policies {
		pods := c.pods(p.Spec.PodSelector.MatchLabels)
		if len(pods) != 1 {
			c.t.Errorf("policy %s selects %d kinds of pods", p.Name, len(pods))
			continue
		}
		for _, rule := range p.Spec.Ingress {
			for _, port := range rule.Ports {
				if port.Port != nil && !hasPort(pods[0], *port.Port) {
					c.t.Errorf("policy %s: the pods have no port %s", p.Name, port.Port)
				}
			}
		}
	}
	for _, b := range c.budgets {
		if pods := c.pods(b.Spec.Selector.MatchLabels); len(pods) != 1 {
			c.t.Errorf("budget %s selects %d kinds of pods", b.Name, len(pods))
		}
	}
	c.checkOperator()
}

func (c *cluster) checkOperator() {
	c.t.Helper()
	for _, m := range c.monitors {
		found := 0
		for _, s := range c.services {
			if !selected(m.Spec.Selector.MatchLabels, s.Labels) {
				continue
			}
			found++
			if job := s.Labels[m.Spec.JobLabel]; job != "dhtprom-scraper" { // the job in mixin/alerts
				c.t.Errorf("%s makes the job %q", m.Name, job)
			}
			for _, e := range m.Spec.Endpoints {
				if e.Path != "/metrics" || !slices.ContainsFunc(s.Spec.Ports, func(p core.ServicePort) bool { return p.Name == e.Port }) {
					c.t.Errorf("%s: endpoint %s%s", m.Name, e.Port, e.Path)
				}
			}
		}
		if found != 1 {
			c.t.Errorf("%s selects %d services", m.Name, found)
		}
	}
	for _, s := range c.configs {
		if len(s.Spec.HTTPSDConfigs) != 1 {
			c.t.Fatalf("%s has %d places of targets", s.Name, len(s.Spec.HTTPSDConfigs))
		}
		host, path, _ := strings.Cut(strings.TrimPrefix(string(s.Spec.HTTPSDConfigs[0].URL), "http://"), ":")
		service := c.service(host)
		if service == nil || path != fmt.Sprintf("%d/sd/prometheus", service.Spec.Ports[0].Port) {
			c.t.Errorf("%s discovers %s:%s", s.Name, host, path)
		}
	}
}

func (c *cluster) checkWorkload(w workload) {
	c.t.Helper()
	if !selected(w.selector.MatchLabels, w.pod.Labels) {
		c.t.Errorf("%s: its selector %v is not of its pods, %v", w.name, w.selector.MatchLabels, w.pod.Labels)
	}
	if w.kind == "StatefulSet" && !slices.ContainsFunc(c.services, func(s *core.Service) bool { return s.Name == w.service }) {
		c.t.Errorf("%s: there is no service %s", w.name, w.service)
	}
	volumes := map[string]bool{}
	for _, v := range w.pod.Spec.Volumes {
		volumes[v.Name] = true
	}
	for _, v := range w.claims {
		volumes[v.Name] = true
	}
	for i := range w.pod.Spec.Containers {
		container := &w.pod.Spec.Containers[i]
		for _, mount := range container.VolumeMounts {
			if !volumes[mount.Name] {
				c.t.Errorf("%s: there is no volume %s, only %v", w.name, mount.Name, slices.Collect(maps.Keys(volumes)))
			}
		}
		if len(container.Resources.Requests) < 2 && isOurs(container) || container.Image == "" {
			c.t.Errorf("%s: %s has no image or requests no resources", w.name, container.Name)
		}
		if isOurs(container) {
			c.checkSecurity(w, container)
		}
	}
}

const image = "ghcr.io/dhtprom/dhtprom"

// isOurs reports whether a container runs a program of this repository.
func isOurs(c *core.Container) bool { return strings.HasPrefix(c.Image, image+":") }

// checkSecurity checks what the restricted standard of Kubernetes requires of pods, and that the programs write to volumes only.
func (c *cluster) checkSecurity(w workload, container *core.Container) {
	c.t.Helper()
	pod, own := w.pod.Spec.SecurityContext, container.SecurityContext
	if pod == nil {
		pod = &core.PodSecurityContext{}
	}
	is := func(b *bool, want bool) bool { return b != nil && *b == want }
	switch {
	case own == nil:
		c.t.Errorf("%s: %s has no security context", w.name, container.Name)
	case !is(own.RunAsNonRoot, true) && !is(pod.RunAsNonRoot, true),
		!is(own.AllowPrivilegeEscalation, false), !is(own.ReadOnlyRootFilesystem, true),
		own.Capabilities == nil || !slices.Contains(own.Capabilities.Drop, "ALL"),
		own.SeccompProfile == nil && pod.SeccompProfile == nil:
		c.t.Errorf("%s: %s has more rights than it needs: %+v", w.name, container.Name, own)
	}
}
