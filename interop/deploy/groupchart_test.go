package deploy_test

import (
	"reflect"
	"slices"
	"testing"

	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
)

// groupOf returns the pods of members, the only ones.
func groupOf(t *testing.T, c *cluster) core.PodSpec {
	t.Helper()
	c.check()
	if len(c.workloads) != 1 || len(c.budgets) != 1 || len(c.policies) != 1 || len(c.workloads[0].claims) != 0 {
		t.Fatalf("%d workloads, %d budgets, %d policies; want one of each, without volumes of a cluster", len(c.workloads), len(c.budgets), len(c.policies))
	}
	pod := c.workloads[0].pod.Spec
	if *pod.TerminationGracePeriodSeconds < 30 {
		t.Errorf("a member has %d s to hand over", *pod.TerminationGracePeriodSeconds)
	}
	for _, port := range []int{2379, 0} { // etcd and the other members
		if !slices.ContainsFunc(c.policies[0].Spec.Egress, func(rule networking.NetworkPolicyEgressRule) bool {
			return slices.ContainsFunc(rule.Ports, func(p networking.NetworkPolicyPort) bool { return p.Port != nil && p.Port.IntValue() == port })
		}) {
			t.Errorf("members cannot connect to port %d", port)
		}
	}
	return pod
}

func TestChartAndKustomizationMakeTheSameGroup(t *testing.T) {
	chart, kustomization := &cluster{t: t}, &cluster{t: t}
	for _, document := range documents(render(t, "group.enabled=true")) {
		chart.add([]byte(document))
	}
	kustomization.build("group")
	a, b := groupOf(t, chart), groupOf(t, kustomization)
	if !reflect.DeepEqual(a.Containers[0].Env, b.Containers[0].Env) || !reflect.DeepEqual(a.Volumes, b.Volumes) {
		t.Errorf("the chart has\n%v\n%v\nthe kustomization\n%v\n%v", a.Containers[0].Env, a.Volumes, b.Containers[0].Env, b.Volumes)
	}
}

func TestChartHasTheFilesOfEtcd(t *testing.T) {
	c := &cluster{t: t}
	for _, document := range documents(render(t, grouped)) {
		c.add([]byte(document))
	}
	pod := groupOf(t, c)
	settings := map[string]string{}
	for _, v := range pod.Containers[0].Env {
		settings[v.Name] = v.Value
	}
	for name, want := range map[string]string{
		"DHTPROM_GROUP_ETCD": "https://etcd:2379", "DHTPROM_GROUP_ETCD_USER": "dhtprom", "DHTPROM_GROUP_PREFIX": "/berlin/", "DHTPROM_GROUP_LEASE": "10s",
		"DHTPROM_GROUP_ETCD_CA_FILE": "/etc/dhtprom/etcd-tls/ca.crt", "DHTPROM_GROUP_ETCD_CERT_FILE": "/etc/dhtprom/etcd-tls/tls.crt",
		"DHTPROM_GROUP_ETCD_KEY_FILE": "/etc/dhtprom/etcd-tls/tls.key", "DHTPROM_GROUP_ETCD_PASSWORD_FILE": "/etc/dhtprom/etcd-auth/password",
	} {
		if settings[name] != want {
			t.Errorf("%s is %q, want %q", name, settings[name], want)
		}
	}
	secrets := map[string]string{}
	for _, v := range pod.Volumes {
		if v.Secret != nil {
			secrets[v.Name] = v.Secret.SecretName
		}
	}
	if want := map[string]string{"etcd-tls": "etcd-client", "etcd-auth": "etcd-user"}; !reflect.DeepEqual(secrets, want) {
		t.Errorf("secrets %v, want %v", secrets, want)
	}
}
