package dht

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht/compact"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/internal/cost"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/spec/vectors"
)

// filled returns an array with one value.
func filled(b byte) (a [32]byte) { return [32]byte(bytes.Repeat([]byte{b}, 32)) }

func targetsRequest(o *Offer) TargetsRequest {
	return TargetsRequest{
		Major: 1, Minor: 1, Secret: domain.SecretFrom(filled(1)), Key: filled(2), Revision: filled(3), Base: filled(4), Count: 5000, Offer: o,
	}
}

// The messages byte for byte, as spec/dhtprom.md describes them.
func TestTargetsMessagesAreThoseOfTheSpec(t *testing.T) {
	offer := Offer{Proof: [64]byte(bytes.Repeat([]byte{5}, 64)), Unconnected: true, Instance: domain.Instance(bytes.Repeat([]byte{6}, 16))}
	bare, offered := targetsRequest(nil), targetsRequest(&offer)
	needs := TargetsReply{Major: 1, Minor: 1, Success: true, Need: ports.NeedChanges}
	registered := TargetsReply{Major: 1, Minor: 1, Success: true, Accepted: true, Updated: true, Rejected: []domain.RejectedTarget{
		{Alias: "web", Reason: domain.ReasonPinned}, {Alias: "b"},
	}}
	shared := TargetsReply{Major: 1, Minor: 1, Success: true, Shared: true}
	elsewhere := TargetsReply{Major: 1, Minor: 1, Success: true, Elsewhere: true}
	failed := TargetsReply{Major: 1, Minor: 1, Message: "no"}
	commit := TargetsCommit{Need: ports.NeedAll, Bytes: 300}
	for _, test := range []struct {
		name  string // of the example
		got   []byte
		again func(b []byte) ([]byte, error)
	}{
		{"targets", bare.Append(nil), requestAgain},
		{"targets with an offer", offered.Append(nil), requestAgain},
		{"reply that needs changes", needs.Append(nil), replyAgain},
		{"reply with rejected targets", registered.Append(nil), replyAgain},
		{"reply about another client", shared.Append(nil), replyAgain},
		{"reply of a member that leaves the client to another one", elsewhere.Append(nil), replyAgain},
		{"reply of a failure", failed.Append(nil), replyAgain},
		{"targets-commit", commit.Append(nil), func(b []byte) ([]byte, error) {
			m, err := ParseTargetsCommit(b)
			return m.Append(nil), err
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if want := vectors.ExampleBytes(t, "dhtprom", test.name); !bytes.Equal(test.got, want) {
				t.Fatalf("got %x, want %s", test.got, want)
			}
			for _, tail := range []string{"", "\xfflater"} {
				if again, err := test.again(append(bytes.Clone(test.got), tail...)); err != nil || !bytes.Equal(again, test.got) {
					t.Errorf("read again as %x, %v", again, err)
				}
			}
			end := len(test.got)
			if test.name == "targets with an offer" {
				end = len(bare.Append(nil)) // a request with a part of an offer has none
			}
			for n := range end {
				if again, err := test.again(test.got[:n]); err == nil {
					t.Errorf("the first %d bytes are read as %x", n, again)
				}
			}
		})
	}
}

func requestAgain(b []byte) ([]byte, error) {
	m, err := ParseTargetsRequest(b)
	if err != nil {
		return nil, err
	}
	return m.Append(nil), nil
}

func replyAgain(b []byte) ([]byte, error) {
	m, err := ParseTargetsReply(b)
	if err != nil {
		return nil, err
	}
	return m.Append(nil), nil
}

func TestTargetsOfOtherVersions(t *testing.T) {
	higher, other := targetsRequest(nil), TargetsReply{Major: 2, Success: true}
	higher.Minor = 2
	var ve *VersionError
	if _, err := ParseTargetsRequest(higher.Append(nil)); !errors.As(err, &ve) {
		t.Errorf("a request of minor version 2: %v", err)
	}
	if _, err := ParseTargetsReply(other.Append(nil)); !errors.As(err, &ve) {
		t.Errorf("a reply of major version 2: %v", err)
	}
	// What a later version may add means something that this one can do.
	if m, err := ParseTargetsReply([]byte{1, 9, 1, 3, 0x80, 1, 1, 'a', 200}); err != nil || m.Need != ports.NeedAll || m.Accepted || m.Shared || m.Updated ||
		len(m.Rejected) != 1 || m.Rejected[0] != (domain.RejectedTarget{Alias: "a"}) {
		t.Errorf("a reply with unknown numbers: %+v, %v", m, err)
	}
	for _, need := range []byte{0, 3} {
		if _, err := ParseTargetsCommit([]byte{need, 1}); err == nil {
			t.Errorf("a commit of content %d is read", need)
		}
	}
}

// A reason without a number would arrive as none.
func TestReasonsOfRejectedTargetsHaveNumbers(t *testing.T) {
	for _, reason := range domain.RejectionReasons() {
		if code := rejectionCode(reason); code == 0 || rejectionReason(code) != reason {
			t.Errorf("%s has number %d, of %q", reason, code, rejectionReason(code))
		}
	}
}

func TestRepliesNameNoMoreThanASetHas(t *testing.T) {
	m := TargetsReply{Success: true, Rejected: make([]domain.RejectedTarget, domain.MaxTargets)}
	m.Rejected[0].Alias = domain.Alias(strings.Repeat("x", 1000))
	got, err := ParseTargetsReply(m.Append(nil))
	if err != nil || len(got.Rejected) != domain.MaxTargets || len(got.Rejected[0].Alias) != domain.MaxAlias {
		t.Errorf("%d rejected, %v", len(got.Rejected), err)
	}
	m.Rejected = append(m.Rejected, m.Rejected[0])
	if _, err := ParseTargetsReply(m.Append(nil)); !errors.Is(err, compact.ErrTooLong) {
		t.Errorf("one more: %v", err)
	}
}

func labelsOf(t testing.TB, of map[string]string) domain.Labels {
	t.Helper()
	l, err := domain.ParseLabels(of)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func fieldsOf(t testing.TB, names ...string) domain.Fields {
	t.Helper()
	f, err := domain.ParseFields(names)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

var formerPair = id.KeyPairFromSeed(id.Seed{8})

// item makes an item of bytes.
func item(kind uint64, fields string) string {
	return string(compact.AppendString(nil, string(compact.AppendUint(nil, kind))+fields))
}

func text(s string) string { return string(compact.AppendString(nil, s)) }

func rules() contentRules {
	return contentRules{maxName: 300, key: filled(2), message: formerMessage(filled(2), [64]byte{1})}
}

// The content byte for byte, as spec/dhtprom.md describes it.
func TestContentIsThatOfTheSpec(t *testing.T) {
	web := domain.Target{Alias: "web", Hostname: "h", Service: "s", Label: "h:1", Labels: labelsOf(t, map[string]string{"zone": "a", "env": "b"}), Fields: fieldsOf(t, "X-A")}
	content := appendContent(nil, []domain.Target{web, {Alias: "b"}}, []domain.Alias{"c"})
	if want := vectors.ExampleBytes(t, "dhtprom", "content of two targets and one that is gone"); !bytes.Equal(content, want) {
		t.Errorf("got  %x\nwant %s", content, want)
	}
	set, err := domain.NewTargetSet([]domain.Target{web, {Alias: "b"}})
	if err != nil {
		t.Fatal(err)
	}
	hashed := sha256.Sum256(vectors.ExampleBytes(t, "dhtprom", "what the revision of those two targets hashes"))
	if want := vectors.ExampleBytes(t, "dhtprom", "their revision"); set.Revision() != hashed || !bytes.Equal(hashed[:], want) {
		t.Errorf("the revision is %x, of the text it is %x, want %s", set.Revision(), hashed, want)
	}
	proof := appendProof(nil, "web", formerPair, rules().message)
	if want := vectors.ExampleBytes(t, "dhtprom", "proof of a former key"); !bytes.Equal(proof, want) {
		t.Errorf("got  %x\nwant %s", proof, want)
	}
	if got := formerMessage(filled(2), [64]byte{1}); len(got) != 32+64+32 || [32]byte(got) != id.Namespace("dhtprom/former key", 0) || got[32] != 1 || got[96] != 2 {
		t.Errorf("the signed message is %x", got)
	}

	// Other kinds, and fields that a later version appends, are ignored.
	later := item(0, text("d")+text("")+text("")+text("")+"\x00\x00"+"later") + item(1, text("e")+"later") + item(77, "") + item(300, "later")
	c, err := parseContent(append(append(content, proof...), later...), rules())
	got := fmt.Sprintf("%v %v %v %v", c.Targets, c.Gone, c.Bad, c.Former)
	if want := fmt.Sprintf("%v %v %v %v", []domain.Target{web, {Alias: "b"}, {Alias: "d"}}, []domain.Alias{"c", "e"}, []domain.Alias(nil),
		map[domain.Alias]domain.PublicKey{"web": domain.PublicKey(formerPair.Public)}); err != nil || got != want {
		t.Errorf("%v\ngot  %s\nwant %s", err, got, want)
	}
}

func TestMalformedContentIsRejected(t *testing.T) {
	web := domain.Target{Alias: "web", Labels: labelsOf(t, map[string]string{"a": "b"}), Fields: fieldsOf(t, "X-A")}
	for _, whole := range [][]byte{appendContent(nil, []domain.Target{web}, nil), appendContent(nil, nil, []domain.Alias{"a"}), appendProof(nil, "a", formerPair, nil)} {
		for n := range whole {
			if n == 0 {
				continue
			}
			if _, err := parseContent(whole[:n], rules()); err == nil {
				t.Errorf("the first %d bytes of %x are read", n, whole)
			}
			short := compact.AppendBytes(nil, whole[1:n])
			if _, err := parseContent(short, rules()); err == nil {
				t.Errorf("an item %x is read", short)
			}
		}
	}
}

func TestContentOfTooManyTargets(t *testing.T) {
	for name, one := range map[string]string{
		"targets":     item(0, text("a")+"\x00\x00\x00\x00\x00"),
		"bad targets": item(0, text(strings.Repeat("a", 301))+"\x00\x00\x00\x00\x00"),
		"gone":        item(1, text("a")),
	} {
		most := strings.Repeat(one, domain.MaxTargets)
		if _, err := parseContent([]byte(most), rules()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := parseContent([]byte(most+one), rules()); err == nil || err.Error() != "more than 5000 targets" {
			t.Errorf("one more of %s: %v", name, err)
		}
	}
}

// A target that the rules for names, labels or fields do not allow does not prevent the others.
func TestUnusableTargetsAreNamed(t *testing.T) {
	long := text(strings.Repeat("x", 301))
	repeat := func(n int, s func(i int) string) string {
		b := string(compact.AppendUint(nil, uint64(n)))
		for i := range n {
			b += s(i)
		}
		return b
	}
	names := func(alias, host, service, label string) string { return alias + host + service + label }
	good := names(text("bad"), text(""), text(""), text(""))
	for name, fields := range map[string]string{
		"hostname":         names(text("bad"), long, text(""), text("")) + "\x00\x00",
		"service":          names(text("bad"), text(""), long, text("")) + "\x00\x00",
		"label instance":   names(text("bad"), text(""), text(""), long) + "\x00\x00",
		"label's name":     good + "\x01" + text("a b") + text("v") + "\x00",
		"long label":       good + "\x01" + text(strings.Repeat("a", domain.MaxLabelName+1)) + text("v") + "\x00",
		"long value":       good + "\x01" + text("a") + text(strings.Repeat("a", domain.MaxLabelValue+1)) + "\x00",
		"repeated label":   good + "\x02" + text("a") + text("v") + text("a") + text("v") + "\x00",
		"many labels":      good + repeat(domain.MaxLabels+1, func(i int) string { return text(fmt.Sprint("l", i)) + text("v") }) + "\x00",
		"large labels":     good + repeat(domain.MaxLabels, func(i int) string { return text(fmt.Sprint("l", i)) + text(strings.Repeat("v", 1000)) }) + "\x00",
		"header field":     good + "\x00" + "\x01" + text("Host"),
		"long field":       good + "\x00" + "\x01" + text(strings.Repeat("x", domain.MaxFieldName+1)),
		"many fields":      good + "\x00" + repeat(domain.MaxFields+1, func(i int) string { return text(fmt.Sprint("X-", i)) }),
		"label, then tail": good + "\x01" + text("a b") + text("v") + "\x00" + "later",
	} {
		c, err := parseContent([]byte(item(0, fields)+item(0, text("good")+"\x00\x00\x00\x00\x00")), rules())
		if err != nil || fmt.Sprint(c.Bad) != "[bad]" || len(c.Targets) != 1 || c.Targets[0].Alias != "good" {
			t.Errorf("%s: bad %v, good %v, %v", name, c.Bad, c.Targets, err)
		}
	}
	most := repeat(domain.MaxLabels, func(i int) string { return text(fmt.Sprint("l", i)) + text("v") })
	if c, err := parseContent([]byte(item(0, good+most+"\x00")), rules()); err != nil || len(c.Targets) != 1 || c.Targets[0].Labels.Len() != domain.MaxLabels {
		t.Errorf("as many labels as a target may have: bad %v, good %v, %v", c.Bad, c.Targets, err)
	}
	c, err := parseContent([]byte(item(0, long+"\x00\x00\x00\x00\x00")+item(1, long)), rules())
	if clipped := strings.Repeat("x", domain.MaxAlias); err != nil || fmt.Sprint(c.Bad) != "["+clipped+"]" || fmt.Sprint(c.Gone) != "["+clipped+"]" {
		t.Errorf("long aliases: bad %v, gone %v, %v", c.Bad, c.Gone, err)
	}
}

func TestOnlyValidProofsCount(t *testing.T) {
	r := rules()
	set := id.KeyPairFromSeed(id.Seed{2})
	r.key = domain.PublicKey(set.Public)
	for name, c := range map[string]struct {
		proof []byte
		want  int
	}{
		"valid":                 {appendProof(nil, "a", formerPair, r.message), 1},
		"of another connection": {appendProof(nil, "a", formerPair, formerMessage(filled(2), [64]byte{2})), 0},
		"for another set":       {appendProof(nil, "a", formerPair, formerMessage(filled(3), [64]byte{1})), 0},
		"of the set's own key":  {appendProof(nil, "a", set, r.message), 0},
		"by another key":        {append(appendProof(nil, "a", formerPair, nil)[:36], appendProof(nil, "a", set, r.message)[36:]...), 0},
		"without an encryption": {appendProof(nil, "a", formerPair, nil), 0},
		"the last that counts":  {append(bytes.Repeat(appendProof(nil, "a", formerPair, nil), maxProofs-1), appendProof(nil, "a", formerPair, r.message)...), 1},
		"beyond the limit":      {append(bytes.Repeat(appendProof(nil, "a", formerPair, nil), maxProofs), appendProof(nil, "a", formerPair, r.message)...), 0},
	} {
		rules := r
		if name == "without an encryption" {
			rules.message = nil
		}
		got, err := parseContent(c.proof, rules)
		if err != nil || len(got.Former) != c.want || c.want == 1 && got.Former["a"] != domain.PublicKey(formerPair.Public) {
			t.Errorf("%s: %v, %v", name, got.Former, err)
		}
	}
}

func seeds(values ...[]byte) (list []message) {
	for _, b := range values {
		list = append(list, message{Hex: b})
	}
	return list
}

func FuzzParseTargetsRequest(f *testing.F) {
	o := SignOffer(formerPair, [64]byte{1})
	fuzz(f, seeds(targetsRequest(nil).Append(nil), targetsRequest(&o).Append(nil)), ParseTargetsRequest, TargetsRequest.Append, TargetsRequest.Size)
}

func FuzzParseTargetsReply(f *testing.F) {
	fuzz(f, seeds(
		TargetsReply{Success: true, Need: ports.NeedAll}.Append(nil), TargetsReply{Message: "no"}.Append(nil),
		TargetsReply{Success: true, Accepted: true, Rejected: []domain.RejectedTarget{{Alias: "a", Reason: domain.ReasonPinned}, {Alias: "b"}}}.Append(nil),
	), ParseTargetsReply, TargetsReply.Append, TargetsReply.Size)
}

func FuzzParseTargetsCommit(f *testing.F) {
	fuzz(f, seeds(TargetsCommit{Need: ports.NeedAll, Bytes: 1}.Append(nil)), ParseTargetsCommit, TargetsCommit.Append, TargetsCommit.Size)
}

func FuzzContent(f *testing.F) {
	target := domain.Target{Alias: "web", Hostname: "h", Labels: labelsOf(f, map[string]string{"env": "b", "__scrape_interval__": "5s"}), Fields: fieldsOf(f, "X-A", "X-B")}
	f.Add(appendContent(nil, []domain.Target{target, {Alias: "b"}}, []domain.Alias{"c"}))
	f.Add([]byte(item(9, "later") + item(0, text("a")+text("")+text("")+text("")+"\x02"+text("a")+text("b")+text("a")+text("b")+"\x01"+text("Host"))))
	f.Add(appendProof(nil, "web", formerPair, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := rules()
		r.message = nil // the cost of signatures does not depend on the length
		var c ports.SetContent
		var err error
		cost.Bound{StepsPerByte: 64, Steps: 2000, BytesPerByte: 256, Bytes: 64 << 10}.Check(t, len(b), func() { c, err = parseContent(b, r) })
		if err != nil {
			return
		}
		once := appendContent(nil, c.Targets, c.Gone)
		again, err := parseContent(once, r)
		if err != nil || len(again.Bad) != 0 || !bytes.Equal(appendContent(nil, again.Targets, again.Gone), once) {
			t.Fatalf("%x is read as %+v, and that as %+v, %v", b, c, again, err)
		}
	})
}
