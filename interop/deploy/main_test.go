// Package deploy_test checks the manifests of deploy/ against the types of Kubernetes and the Prometheus operator. It is a module of
// its own because of these.
package deploy_test

import (
	"testing"

	"github.com/dhtprom/dhtprom/interop/process"
)

func TestMain(m *testing.M) { process.Main(m) }
