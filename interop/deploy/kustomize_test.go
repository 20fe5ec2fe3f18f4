package deploy_test

import (
	"path/filepath"
	"slices"
	"testing"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/dhtprom/dhtprom/interop/process"
)

// build adds what kustomize builds of a folder of deploy/kubernetes.
func (c *cluster) build(folder string) {
	c.t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(
		filesys.MakeFsOnDisk(), filepath.Join(process.Top(c.t), "deploy/kubernetes", folder))
	if err != nil {
		c.t.Fatalf("%s: %v", folder, err)
	}
	for _, object := range built.Resources() {
		manifest, err := object.AsYAML()
		if err != nil {
			c.t.Fatal(err)
		}
		c.add(manifest)
	}
}

func TestKustomizationsAreValid(t *testing.T) {
	folders, err := filepath.Glob(filepath.Join(process.Top(t), "deploy/kubernetes/*/kustomization.yaml"))
	if err != nil || len(folders) < 6 {
		t.Fatalf("%q, %v", folders, err)
	}
	for _, path := range folders {
		folder := filepath.Base(filepath.Dir(path))
		t.Run(folder, func(t *testing.T) {
			c := &cluster{t: t}
			c.build(folder)
			if slices.Contains([]string{"prometheus-operator"}, folder) {
				return // it refers to a scraper, as in private
			}
			c.check()
		})
	}
}

func TestKustomizationsRun(t *testing.T) {
	c := &cluster{t: t}
	for _, folder := range []string{"private", "sidecar", "node-exporter"} {
		c.build(folder)
	}
	c.check()
	c.run(process.Kustomizations)
}
