package members_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/dhtprom/dhtprom/adapters/members"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/portstest"
	"github.com/dhtprom/dhtprom/ports/portstest/inbox"
)

func TestMemberIsASourceThatKeepsTheContract(t *testing.T) {
	portstest.TestMetricsSource(t, func(*testing.T) portstest.SourceBench {
		l := make(inbox.Loop, 64)
		return l.Bench(func(t *testing.T, says portstest.SourceAnswer) ports.MetricsSource {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case says.Fails:
					return // without the header of a member
				case says.Hangs:
					w.WriteHeader(http.StatusProcessing)
					<-r.Context().Done()
					return
				}
				w.Header().Set("Dhtprom-Outcome", "answered")
				_, _ = w.Write(says.Body)
			}))
			t.Cleanup(server.Close)
			m := members.New(members.Config{Loop: l, Seed: seed})
			t.Cleanup(m.Close)
			return m.Source(domain.Member{Name: "b", URL: server.URL}, "web")
		})
	})
}
