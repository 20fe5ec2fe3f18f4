package passon_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/web/passon"
	"github.com/dhtprom/dhtprom/domain"
)

func request(t *testing.T, method, target string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOnlyTheSignedRequestIsAMembers(t *testing.T) {
	key := passon.NewKey(domain.SeedFrom([32]byte{1}))
	signed := request(t, http.MethodGet, "http://b/prefix/scrape/web/metrics?a=1")
	key.Sign(signed, "/scrape/web/metrics")
	proof := signed.Header.Get("Authorization")
	if !passon.Claims(signed) || !key.Check(signed, "/scrape/web/metrics") {
		t.Fatalf("a signed request is not accepted: %q", proof)
	}
	for name, change := range map[string]func(r *http.Request) (path string){
		"another method": func(r *http.Request) string { r.Method = http.MethodHead; return "/scrape/web/metrics" },
		"another path":   func(*http.Request) string { return "/scrape/db/metrics" },
		"another query":  func(r *http.Request) string { r.URL.RawQuery = "a=2"; return "/scrape/web/metrics" },
		"two":            func(r *http.Request) string { r.Header.Add("Authorization", proof); return "/scrape/web/metrics" },
		"one bit": func(r *http.Request) string {
			r.Header.Set("Authorization", flipped(proof))
			return "/scrape/web/metrics"
		},
		"a part": func(r *http.Request) string { r.Header.Set("Authorization", proof[:20]); return "/scrape/web/metrics" },
		"nothing": func(r *http.Request) string {
			r.Header.Set("Authorization", "Dhtprom-Group ")
			return "/scrape/web/metrics"
		},
		"no hexadecimals": func(r *http.Request) string {
			r.Header.Set("Authorization", "Dhtprom-Group xyz")
			return "/scrape/web/metrics"
		},
		"a password":       func(r *http.Request) string { r.SetBasicAuth("u", "p"); return "/scrape/web/metrics" },
		"no authorization": func(r *http.Request) string { r.Header.Del("Authorization"); return "/scrape/web/metrics" },
	} {
		r := signed.Clone(t.Context())
		if key.Check(r, change(r)) {
			t.Errorf("%s: accepted", name)
		}
	}
	if passon.NewKey(domain.SeedFrom([32]byte{2})).Check(signed, "/scrape/web/metrics") {
		t.Error("another seed: accepted")
	}
	if seed := domain.SeedFrom([32]byte{1}).Reveal(); strings.Contains(fmt.Sprintf("%v %+v %#v", key, key, key), fmt.Sprintf("%x", seed)) {
		t.Error("the key is shown")
	}
}

// flipped changes the last bit of a proof.
func flipped(proof string) string {
	last := proof[len(proof)-1]
	if last == '0' {
		return proof[:len(proof)-1] + "1"
	}
	return proof[:len(proof)-1] + "0"
}

func TestTheCallersAuthorizationIsKept(t *testing.T) {
	key := passon.NewKey(domain.SeedFrom([32]byte{1}))
	r := request(t, http.MethodGet, "http://b/scrape/web/metrics")
	r.Header = http.Header{"Authorization": {"Bearer token"}, "Accept": {"text/plain"}, "Dhtprom-Authorization": {"forged"}}
	want := http.Header{"Authorization": {"Bearer token"}, "Accept": {"text/plain"}}
	key.Sign(r, "/scrape/web/metrics")
	if got := passon.Restore(r.Header); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	r.Header = http.Header{"Dhtprom-Authorization": {"forged"}}
	key.Sign(r, "/scrape/web/metrics")
	if got := passon.Restore(r.Header); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestFailuresArriveAsTheyWere(t *testing.T) {
	for _, c := range []struct {
		err   error
		final bool // another way cannot help
		is    error
	}{
		{&domain.RemoteError{Message: "no metrics"}, true, nil},
		{&domain.ScrapeError{Fault: domain.FaultExporter, Reason: "exporter refused the connection"}, true, nil},
		{&domain.ScrapeError{Fault: domain.FaultRequest, Reason: "the target takes no parameters"}, true, nil},
		{&domain.ScrapeError{Fault: domain.FaultTime, Reason: "no answer of the exporter within 1s"}, true, domain.ErrTimeout},
		{&domain.TimeoutError{Waiting: "the answer", After: time.Second}, true, domain.ErrTimeout},
		{&domain.BodyTooLargeError{Size: 2, Max: 1}, true, nil},
		{domain.ErrNotLoaded, false, domain.ErrNotLoaded},
		{domain.ErrUnknownAlias, false, domain.ErrNoAnswer},
		{domain.ErrClosed, false, domain.ErrNoAnswer},
		{fmt.Errorf("%w: %w", domain.ErrNotConnected, &domain.TimeoutError{Waiting: "connection", After: 1}), false, domain.ErrNotConnected},
		{errors.New("connection lost"), false, domain.ErrNoAnswer},
	} {
		w := httptest.NewRecorder()
		passon.WriteFailure(w, c.err)
		got := passon.Outcome(w.Result())
		if got == nil || got.Error() != c.err.Error() {
			t.Errorf("%v became %v", c.err, got)
		}
		if errors.Is(got, domain.ErrNoAnswer) == c.final || c.is != nil && !errors.Is(got, c.is) {
			t.Errorf("%v became %#v", c.err, got)
		}
		if _, large := errors.AsType[*domain.BodyTooLargeError](c.err); large {
			continue // the client's, there
		}
		if want := domain.FailureReason(c.err); c.final && domain.FailureReason(got) != want {
			t.Errorf("%v counts as %s, want %s", c.err, domain.FailureReason(got), want)
		}
	}
}

func TestResponsesOfOthersAreNoAnswer(t *testing.T) {
	for name, write := range map[string]func(w http.ResponseWriter){
		"a proxy": func(w http.ResponseWriter) { http.Error(w, "bad gateway", http.StatusBadGateway) },
		"no JSON": func(w http.ResponseWriter) {
			w.Header().Set("Dhtprom-Outcome", "failed")
			_, _ = w.Write([]byte("<html>"))
		},
		"endless": func(w http.ResponseWriter) {
			w.Header().Set("Dhtprom-Outcome", "failed")
			_, _ = w.Write([]byte(`{"text":"` + strings.Repeat("x", 1<<20)))
		},
		"other kind": func(w http.ResponseWriter) {
			w.Header().Set("Dhtprom-Outcome", "failed")
			_, _ = w.Write([]byte(`{"kind":"later"}`))
		},
		"other mark": func(w http.ResponseWriter) { w.Header().Set("Dhtprom-Outcome", "perhaps") },
	} {
		w := httptest.NewRecorder()
		write(w)
		if err := passon.Outcome(w.Result()); !errors.Is(err, domain.ErrNoAnswer) || len(err.Error()) > 600 {
			t.Errorf("%s: %v", name, err)
		}
	}
	w := httptest.NewRecorder()
	w.Header().Set("Dhtprom-Outcome", "failed")
	_, _ = w.Write([]byte(`{"kind":"fault 200","text":"a\nb\u001b[31m"}`))
	if err := passon.Outcome(w.Result()); err == nil || err.Error() != "a b [31m" || domain.FailureReason(err) != domain.ReasonClient {
		t.Errorf("an unknown fault became %v", err)
	}
}
