package domain_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/domain"
)

type caused struct{ domain.Cause }

func (c caused) Error() string         { return string(c.Cause) + ": raw" }
func (c caused) CauseOf() domain.Cause { return c.Cause }

func TestEachCauseIsExplainedForEachPeer(t *testing.T) {
	for _, c := range domain.Causes() {
		for _, peer := range []string{domain.PeerClient, domain.PeerScraper, domain.PeerOther, "client 2"} {
			e := c.Explain(peer)
			if e.Text == "" || e.Cause != c || strings.ContainsAny(e.String(), "{}") || strings.HasSuffix(e.String(), ".") {
				t.Errorf("%s, %s: %q", c, peer, e)
			}
		}
	}
}

func TestErrorsAreDescribedWithTheirCause(t *testing.T) {
	silent := fmt.Errorf("not connected: %w", caused{domain.CausePeerSilentAtFirst})
	for _, c := range []struct {
		err        error
		peer, want string
	}{
		{silent, domain.PeerClient, "the client does not answer; is it running? (not connected: PEER_CONNECTION_FAILED: raw)"},
		{caused{domain.CausePeerNotFound}, domain.PeerOther, "no DHT node knows the other side's key; is it running, under this key, and with the same --dht.bootstrap? (PEER_NOT_FOUND: raw)"},
		{caused{domain.CausePeerNotFound}, "client 2", "no DHT node knows client 2's key; is it running, under this key, and with the same --dht.bootstrap? (PEER_NOT_FOUND: raw)"},
		{caused{domain.CauseTimeout}, domain.PeerClient, "no answer (TIMEOUT: raw)"},
		{errors.New("anything"), domain.PeerClient, "anything"},
		{caused{}, domain.PeerClient, ": raw"},
		{
			&domain.RemoteError{Scraper: true, Message: domain.Unauthorised}, domain.PeerScraper,
			"the scraper does not accept the secret; compare --secret-file or the invite with the scraper's secret (scraper reported: Unauthorised)",
		},
		{&domain.RemoteError{Message: domain.Unauthorised}, domain.PeerClient, "client reported: Unauthorised"},
	} {
		if got := domain.Describe(c.err, c.peer); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
