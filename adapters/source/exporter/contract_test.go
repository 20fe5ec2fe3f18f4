package exporter_test

import (
	"net/http"
	"testing"

	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

func TestExporterKeepsTheContract(t *testing.T) {
	portstest.TestMetricsSource(t, func(*testing.T) portstest.SourceBench {
		l := make(loop, 64)
		return l.Bench(func(t *testing.T, says portstest.SourceAnswer) ports.MetricsSource {
			_, _, server := serving(t, func(w http.ResponseWriter, r *http.Request) {
				switch {
				case says.Fails:
					panic(http.ErrAbortHandler)
				case says.Hangs:
					<-r.Context().Done()
					return
				}
				_, _ = w.Write(says.Body)
			})
			return scrapes(t, l, server.URL, nil)
		})
	})
}
