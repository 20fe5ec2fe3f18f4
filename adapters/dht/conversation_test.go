package dht

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/adapters/dht/muxscrape"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht/mux"
	"github.com/dhtprom/dhtprom/hyperdht/muxrpc"
	"github.com/dhtprom/dhtprom/ports"
)

// Values in the recorded conversations.
const (
	recordedUID  = "00000000-0000-4000-8000-000000000000"
	recordedBody = "# HELP up Whether the process runs\n# TYPE up gauge\nup 1\n"
)

func recordedSecret() (s [32]byte) {
	for i := range s {
		s[i] = byte(0x10 + i)
	}
	return s
}

// sent compares what one side sent with the recorded frames of that side. The directions are independent.
func (w *world) sent(v conversation, side, recorded string) {
	w.t.Helper()
	var got, want [][]byte
	for _, f := range w.wire.Frames {
		if f.From == side {
			got = append(got, f.Bytes)
		}
	}
	for _, f := range v.Frames {
		if f.From == recorded {
			want = append(want, f.Hex)
		}
	}
	if len(want) == 0 || len(got) != len(want) {
		w.t.Errorf("the %s sent %d frames, recorded are %d", recorded, len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		if !bytes.Equal(got[i], want[i]) {
			w.t.Errorf("frame %d of the %s is %x, recorded is %x", i, recorded, got[i], want[i])
		}
	}
}

// byHand makes a request with a version that this package does not send.
func byHand(t *testing.T, c *fakeConn, protocol, method string, value []byte, done func(error)) {
	t.Helper()
	m := mux.New(c)
	c.onOpen = func() {}
	rpc, err := muxrpc.New(m, muxrpc.Options{Protocol: protocol})
	if err != nil {
		t.Fatal(err)
	}
	_, err = rpc.Request(method, value, func(_ []byte, err error) {
		done(err)
		m.End()
	})
	if err != nil {
		t.Fatal(err)
	}
}

// versionOf returns the version that a conversation tests; 0, 0 when it tests something else.
func versionOf(name string) (major, minor uint64) {
	switch {
	case strings.Contains(name, "higher minor version"):
		return 1, 2
	case strings.Contains(name, "another major version"):
		return 2, 1
	}
	return 0, 0
}

// thrown checks an error against what the recorded caller saw.
func thrown(t *testing.T, err error, text, cause string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if cause == "" {
		var remote *domain.RemoteError
		if !errors.As(err, &remote) || remote.Message != text {
			t.Errorf("error %v, recorded is %s", err, text)
		}
		return
	}
	var e *muxrpc.Error
	if !errors.As(err, &e) || e.Error() != text || e.Cause.Error() != cause {
		t.Errorf("error %v, recorded is %s because of %s", err, text, cause)
	}
}

func TestRegistrationsAgreeWithRecordedConversations(t *testing.T) {
	for _, v := range load(t, "alias-rpc").Conversations {
		t.Run(v.Name, func(t *testing.T) {
			secret := recordedSecret()
			w := newWorld(t)
			server := func(req ports.AliasRequest, reply func(ports.AliasReply)) {
				switch {
				case !req.Secret.Equal(domain.SecretFrom(secret)):
					reply(ports.AliasReply{Message: "Unauthorised"})
				case v.Name == "server callback throws":
					reply(ports.AliasReply{Message: "Failed to register alias (uid " + recordedUID + ")"})
				default:
					reply(ports.AliasReply{Success: true, Updated: v.Name != "registered, not updated"})
				}
			}
			if _, err := serveAliases(newLink(w.loop, w.scraper), Config{MaxName: DefaultMaxName}, w.aliasHandlers(server)); err != nil {
				t.Fatal(err)
			}
			m := AliasRequest{Secret: domain.SecretFrom(secret), Register: domain.Register{
				Alias: "my-alias", Key: domain.PublicKey(bytes.Repeat([]byte{0x77}, 32)), Hostname: "host.example", Service: "my-service",
			}}
			if strings.HasPrefix(v.Name, "wrong secret") {
				m.Secret = domain.SecretFrom([32]byte{})
			}

			var updated bool
			var err error
			m.Major, m.Minor = versionOf(v.Name)
			if m.Major != 0 {
				byHand(t, w.client, protocolAlias, methodAlias, m.Append(nil), func(e error) { err = e })
			} else {
				r := ports.Registration{Secret: m.Secret, Register: m.Register}
				register(newLink(w.loop, w.client), methodAlias, r, nil, func(u bool, e error) { updated, err = u, e })
			}
			w.open()

			w.sent(v, "a", "client")
			w.sent(v, "b", "server")
			if want := v.ClientResult.Updated; want != nil {
				if err != nil || updated != *want {
					t.Errorf("updated %v, %v; recorded is %v", updated, err, *want)
				}
			} else {
				thrown(t, err, v.ClientResult.Thrown, v.ClientResult.Cause)
			}
			w.wantClosed()
		})
	}
}

// Both sides against one that has the channel of the packages only.
func TestScrapesAgreeWithRecordedConversations(t *testing.T) {
	for _, v := range load(t, "metrics-rpc").Conversations {
		t.Run(v.Name, func(t *testing.T) {
			want := v.ScraperResult
			failure := MetricsReply{Message: "Failed to obtain metrics (uid " + recordedUID + ")"}
			page := MetricsReply{Success: true, Body: []byte(recordedBody)}

			w := newWorld(t)
			server := func(reply func(MetricsReply)) {
				if v.Name == "collecting metrics fails" {
					reply(failure)
					return
				}
				reply(page)
			}
			if _, err := serveMetrics(newLink(w.loop, w.client), w.metricsHandlers(server)); err != nil {
				t.Fatal(err)
			}
			var m MetricsRequest
			var err error
			m.Major, m.Minor = versionOf(v.Name)
			byHand(t, w.scraper, protocolMetrics, methodMetrics, m.Append(nil), func(e error) { err = e })
			w.open()
			w.withoutScrapes()
			w.sent(v, "a", "metrics server")
			if want.Thrown != "" {
				thrown(t, err, want.Thrown, want.Cause)
				return
			}

			w = newWorld(t)
			l := newLink(w.loop, w.client)
			rpc, err := muxrpc.New(l.mux, muxrpc.Options{Protocol: protocolMetrics})
			if err != nil {
				t.Fatal(err)
			}
			rpc.Respond(methodMetrics, func(_ []byte, reply func([]byte, error)) {
				if want.Success {
					reply(page.Append(nil), nil)
				} else {
					reply(failure.Append(nil), nil)
				}
			})
			var got MetricsReply
			requestOf(openSession(newLink(w.loop, w.scraper), w.dial()), func(r MetricsReply, e error) { got, err = r, e })
			w.open()
			w.withoutScrapes()
			w.sent(v, "b", "scraper")
			if err != nil || got.Success != want.Success || string(got.Body) != want.Metrics || got.Message != want.ErrorMessage {
				t.Errorf("got %v %q %q, %v; recorded is %+v", got.Success, got.Body, got.Message, err, want)
			}
		})
	}
}

// withoutScrapes removes the channel for scrapes, the first one of a side that has it, from what was sent: its open, its messages, and its number.
func (w *world) withoutScrapes() {
	w.t.Helper()
	frames, opens := w.wire.Frames[:0:0], 0
	has := map[string]bool{}
	for _, f := range w.wire.Frames {
		b := bytes.Clone(f.Bytes)
		switch {
		case bytes.Contains(b, []byte(muxscrape.Protocol)):
			opens++
			has[f.From] = true
			continue
		case has[f.From] && b[0] == 0 && b[1] == 1: // the open of another channel
			b[2]--
		case has[f.From] && b[0] == 1: // a message of it
			continue
		case has[f.From] && b[0] > 1:
			b[0]--
		}
		f.Bytes = b
		frames = append(frames, f)
	}
	if opens != 1 {
		w.t.Errorf("the channel for scrapes was opened %d times", opens)
	}
	w.wire.Frames = frames
}
