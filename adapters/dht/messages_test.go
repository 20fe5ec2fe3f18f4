package dht

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/cost"
	"github.com/dhtprom/dhtprom/spec/vectors"
)

type message struct {
	Note    string
	Hex     vectors.Hex
	Decoded *fields
	Error   *string
}

// fields has those of all four messages.
type fields struct {
	Major, Minor     uint64
	Secret           vectors.Hex
	Alias            string
	TargetPublicKey  vectors.Hex
	Hostname         string
	Service          string
	Success, Updated bool
	ErrorMessage     string
	Metrics          string
}

type conversation struct {
	Name   string
	Frames []struct {
		From string
		Hex  vectors.Hex
	}
	ClientResult struct {
		Updated       *bool
		Thrown, Cause string
	}
	ScraperResult struct {
		Success               bool
		Metrics, ErrorMessage string
		Thrown, Cause         string
	}
}

type golden struct {
	Protocol, Method    string
	Requests, Responses []message
	Conversations       []conversation
}

func load(t testing.TB, name string) golden {
	g := vectors.Load[golden](t, name)
	if len(g.Requests) == 0 || len(g.Responses) == 0 || len(g.Conversations) == 0 {
		t.Fatal("vectors are incomplete")
	}
	return g
}

// check holds a parser and its encoder to the recorded messages. again encodes what was parsed.
func check[M any](t *testing.T, list []message, parse func([]byte) (M, error), again func(M) []byte, want func(*testing.T, *fields) M) {
	t.Helper()
	for _, v := range list {
		t.Run(v.Note, func(t *testing.T) {
			m, err := parse(v.Hex)
			if v.Error != nil {
				var ve *VersionError
				if !errors.As(err, &ve) || err.Error() != *v.Error {
					t.Errorf("error %v, want %s", err, *v.Error)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if w := want(t, v.Decoded); !reflect.DeepEqual(again(m), again(w)) {
				t.Errorf("parsed %+v, want %+v", m, w)
			}
			// The one message that is not encoded the same again has a bool that is neither 0 nor 1, and the
			// one with minor version 0 cannot be written at all.
			canonical := v.Note != "boolean byte other than 0 and 1 reads as false" && v.Decoded.Minor != 0 || v.Decoded.Major == 0
			if got := again(m); canonical && !bytes.Equal(got, v.Hex) {
				t.Errorf("appended %x, want %v", got, v.Hex)
			}
			if _, err := parse(append(bytes.Clone(v.Hex), "from the future"...)); err != nil {
				t.Errorf("trailing bytes are refused: %v", err)
			}
			for n := range v.Hex {
				if _, err := parse(v.Hex[:n]); err == nil {
					t.Errorf("%d bytes of %d are accepted", n, len(v.Hex))
				}
			}
		})
	}
}

func sized(t *testing.T, b []byte, size int) []byte {
	t.Helper()
	if len(b) != size {
		t.Errorf("%d bytes appended, Size says %d", len(b), size)
	}
	return b
}

func TestAliasMessagesAgreeWithVectors(t *testing.T) {
	g := load(t, "alias-rpc")
	if g.Protocol != protocolAlias || g.Method != methodAlias {
		t.Errorf("protocol %s, method %s", g.Protocol, g.Method)
	}
	check(t, g.Requests, ParseAliasRequest,
		func(m AliasRequest) []byte { return sized(t, m.Append(nil), m.Size()) },
		func(t *testing.T, f *fields) AliasRequest {
			return AliasRequest{Major: f.Major, Minor: f.Minor, Secret: domain.SecretFrom(f.Secret.Key(t)), Register: domain.Register{
				Alias: domain.Alias(f.Alias), Key: domain.PublicKey(f.TargetPublicKey.Key(t)), Hostname: f.Hostname, Service: f.Service,
			}}
		})
	check(t, g.Responses, ParseAliasReply,
		func(m AliasReply) []byte { return sized(t, m.Append(nil), m.Size()) },
		func(t *testing.T, f *fields) AliasReply {
			return AliasReply{Major: f.Major, Minor: f.Minor, Success: f.Success, Updated: f.Updated, Message: f.ErrorMessage}
		})
}

func TestMetricsMessagesAgreeWithVectors(t *testing.T) {
	g := load(t, "metrics-rpc")
	if g.Protocol != protocolMetrics || g.Method != methodMetrics {
		t.Errorf("protocol %s, method %s", g.Protocol, g.Method)
	}
	check(t, g.Requests, ParseMetricsRequest,
		func(m MetricsRequest) []byte { return sized(t, m.Append(nil), m.Size()) },
		func(t *testing.T, f *fields) MetricsRequest { return MetricsRequest{Major: f.Major, Minor: f.Minor} })
	check(t, g.Responses, ParseMetricsReply,
		func(m MetricsReply) []byte { return sized(t, m.Append(nil), m.Size()) },
		func(t *testing.T, f *fields) MetricsReply {
			return MetricsReply{Success: f.Success, Body: []byte(f.Metrics), Message: f.ErrorMessage}
		})
}

func TestVersionZeroIsReadAsItIs(t *testing.T) {
	for _, v := range load(t, "alias-rpc").Requests {
		if v.Decoded == nil {
			continue
		}
		m, err := ParseAliasRequest(v.Hex)
		if err != nil || m.Major != v.Decoded.Major || m.Minor != v.Decoded.Minor {
			t.Errorf("%s: version %d.%d, %v", v.Note, m.Major, m.Minor, err)
		}
	}
}

func TestLongNamesAreRefusedButNotMalformed(t *testing.T) {
	long := string(make([]byte, 100_000))
	for field, m := range map[string]AliasRequest{
		"alias":    {Register: domain.Register{Alias: domain.Alias(long)}},
		"hostname": {Register: domain.Register{Hostname: long}},
		"service":  {Register: domain.Register{Service: long}},
	} {
		got, err := ParseAliasRequest(m.Append(nil))
		if err != nil {
			t.Fatalf("%s: %v", field, err)
		}
		var refused *NameError
		if err := got.CheckNames(len(long) - 1); !errors.As(err, &refused) || !errors.Is(err, domain.ErrName) || refused.Field != field || refused.Len != len(long) {
			t.Errorf("%s: %v", field, err)
		}
		if err := got.CheckNames(len(long)); err != nil {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func FuzzParseAliasRequest(f *testing.F) {
	fuzz(f, load(f, "alias-rpc").Requests, ParseAliasRequest, AliasRequest.Append, AliasRequest.Size)
}

func FuzzParseAliasReply(f *testing.F) {
	fuzz(f, load(f, "alias-rpc").Responses, ParseAliasReply, AliasReply.Append, AliasReply.Size)
}

func FuzzParseMetricsRequest(f *testing.F) {
	fuzz(f, load(f, "metrics-rpc").Requests, ParseMetricsRequest, MetricsRequest.Append, MetricsRequest.Size)
}

func FuzzParseMetricsReply(f *testing.F) {
	fuzz(f, load(f, "metrics-rpc").Responses, ParseMetricsReply, MetricsReply.Append, MetricsReply.Size)
}

// fuzz checks that whatever parses is written again as something that parses to the same.
func fuzz[M any](f *testing.F, seeds []message, parse func([]byte) (M, error), appendTo func(M, []byte) []byte, size func(M) int) {
	for _, v := range seeds {
		f.Add([]byte(v.Hex))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var m M
		var err error
		cost.Parsing.Check(t, len(b), func() { m, err = parse(b) })
		if err != nil {
			return
		}
		once := appendTo(m, nil)
		if len(once) != size(m) {
			t.Errorf("%d bytes appended, Size says %d", len(once), size(m))
		}
		again, err := parse(once)
		if err != nil || !bytes.Equal(appendTo(again, nil), once) {
			t.Errorf("%x is read as %+v, and that as %+v, %v", b, m, again, err)
		}
	})
}

// The offer byte for byte, as spec/dhtprom.md describes it.
func TestOffersAreThoseOfTheSpec(t *testing.T) {
	hash := [64]byte{1}
	offer := SignOffer(formerPair, hash)
	offer.Unconnected, offer.Instance = true, domain.Instance(bytes.Repeat([]byte{6}, 16))
	m := AliasRequest{Secret: domain.SecretFrom(filled(1)), Offer: &offer, Register: domain.Register{
		Alias: "web", Key: domain.PublicKey(formerPair.Public), Hostname: "h", Service: "s",
	}}
	if got, want := m.Append(nil), vectors.ExampleBytes(t, "dhtprom", "registration with an offer"); !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %s", got, want)
	}
	if !offer.Proves(m.Key, hash) {
		t.Error("the offer proves nothing")
	}
	r := AliasReply{Success: true, Updated: true, Accepted: true}
	if got, want := r.Append(nil), vectors.ExampleBytes(t, "dhtprom", "reply that accepts the offer"); !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %s", got, want)
	}
}
