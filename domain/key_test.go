package domain_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/cost"
)

// keyVectors are the output of hypercore-id-encoding and hyperdht (spec/vectors).
type keyVectors struct {
	KeyPairs []struct{ Seed, PublicKey, Z32 string }
	TextKeys []struct{ Input, PublicKey, Normalized string }
	Rejected []struct {
		Input string
		Error *string
	} `json:"rejectedTextKeys"`
}

func readKeyVectors(t *testing.T) (v keyVectors) {
	t.Helper()
	b, err := os.ReadFile("../spec/vectors/keys.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.KeyPairs) == 0 || len(v.TextKeys) == 0 || len(v.Rejected) == 0 {
		t.Fatal("the vectors are empty")
	}
	return v
}

func TestKeysAreReadAndPrintedAsTheJavaScriptDoes(t *testing.T) {
	for _, v := range readKeyVectors(t).TextKeys {
		k, err := domain.ParsePublicKey(v.Input)
		if err != nil {
			t.Errorf("%q: %v", v.Input, err)
			continue
		}
		if k.Hex() != v.PublicKey || k.String() != v.Normalized {
			t.Errorf("%q gave %s, %s", v.Input, k.Hex(), k)
		}
		raw, _ := hex.DecodeString(v.PublicKey)
		if fromBytes, err := domain.PublicKeyFromBytes(raw); err != nil || fromBytes != k {
			t.Errorf("%q from bytes gave %s, %v", v.Input, fromBytes, err)
		}
	}
}

func TestMalformedKeysAreRefused(t *testing.T) {
	inputs := []string{
		strings.Repeat("y", 51) + "\n", strings.Repeat("y", 53), strings.Repeat("0", 63), "pear://", "pear:///abc",
	}
	for _, v := range readKeyVectors(t).Rejected {
		if v.Error != nil {
			inputs = append(inputs, v.Input)
		}
	}
	for _, in := range inputs {
		if k, err := domain.ParsePublicKey(in); err == nil {
			t.Errorf("%q was read as %s", in, k)
		}
	}
	for _, n := range []int{0, 31, 33} {
		if _, err := domain.PublicKeyFromBytes(make([]byte, n)); err == nil {
			t.Errorf("%d bytes were taken for a key", n)
		}
		if _, err := domain.SecretFromBytes(make([]byte, n)); err == nil {
			t.Errorf("%d bytes were taken for a secret", n)
		}
	}
}

func TestSurroundingSpaceOfAKeyFileIsIgnored(t *testing.T) {
	want := strings.Repeat("ab", 32)
	k, err := domain.ParsePublicKey(" " + want + "\r\n")
	if err != nil || k.Hex() != want {
		t.Errorf("got %s, %v", k.Hex(), err)
	}
}

func TestKeyPairsComeFromSeedsAsInHyperDHT(t *testing.T) {
	for _, v := range readKeyVectors(t).KeyPairs {
		seed, err := domain.ParseSeed(v.Seed)
		if err != nil {
			t.Fatal(err)
		}
		if got := domain.KeyPairFromSeed(seed).Public; got.Hex() != v.PublicKey || got.String() != v.Z32 {
			t.Errorf("seed %s gave %s", v.Seed, got.Hex())
		}
	}
}

func TestSecretsNeverPrint(t *testing.T) {
	plain := [32]byte{0: 0xde, 1: 0xad, 2: 0xbe, 3: 0xef, 31: 0x99}
	secret, seed := domain.SecretFrom(plain), domain.SeedFrom(plain)
	pair := domain.KeyPairFromSeed(seed)
	type unexported struct {
		s domain.Secret
		k domain.KeyPair
	}
	values := map[string]any{
		"secret": secret, "secret pointer": &secret, "seed": seed, "key pair": pair, "list": []domain.Secret{secret},
		"unexported fields": unexported{secret, pair}, "map": map[string]domain.Seed{"seed": seed},
	}
	forbidden := []string{
		hex.EncodeToString(plain[:4]), secret.RevealText()[:8], "222 173", "222, 173", "0xde, 0xad", "\xde\xad", "3q2+7",
	}
	for name, v := range values {
		var out bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		slog.New(slog.NewJSONHandler(&out, nil)).Info("json", "value", v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("text", "value", v)
		for _, f := range forbidden {
			if strings.Contains(strings.ToLower(out.String()), strings.ToLower(f)) {
				t.Errorf("%s gives itself away with %q in\n%s", name, f, out.String())
			}
		}
	}
}

func TestParseErrorsNeverQuoteTheText(t *testing.T) {
	text := "hunter2hunter2"
	if _, err := domain.ParseSecret(text); err == nil || strings.Contains(err.Error(), "hunter") {
		t.Errorf("error: %v", err)
	}
	if _, err := domain.ParseSeed(text); err == nil || strings.Contains(err.Error(), "hunter") {
		t.Errorf("error: %v", err)
	}
}

func TestAnyValidSecretIsAccepted(t *testing.T) {
	a, b, c := domain.SecretFrom([32]byte{1}), domain.SecretFrom([32]byte{2}), domain.SecretFrom([32]byte{31: 1})
	valid := []domain.Secret{a, b}
	for _, s := range valid {
		if !domain.Accepts(valid, s) {
			t.Error("a valid secret was refused")
		}
	}
	if domain.Accepts(valid, c) || domain.Accepts(valid, domain.Secret{}) || domain.Accepts(nil, a) {
		t.Error("a wrong secret was accepted")
	}
	if !domain.Accepts([]domain.Secret{a, a}, a) {
		t.Error("a secret that is listed twice was refused")
	}
}

func TestUIDsAreUUIDs(t *testing.T) {
	for _, c := range []struct {
		random byte
		want   string
	}{{0x00, "00000000-0000-4000-8000-000000000000"}, {0xff, "ffffffff-ffff-4fff-bfff-ffffffffffff"}} {
		if got := domain.UIDFrom([16]byte(bytes.Repeat([]byte{c.random}, 16))).String(); got != c.want {
			t.Errorf("uid %s, want %s", got, c.want)
		}
	}
}

func FuzzParsePublicKey(f *testing.F) {
	f.Add("8pinxxgqs41n4aididenw5apqp1urfmzdztr8jt4abrkdn435ewo")
	f.Add("pear://ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c/x")
	f.Fuzz(func(t *testing.T, text string) {
		var k domain.PublicKey
		var err error
		cost.Parsing.Check(t, len(text), func() { k, err = domain.ParsePublicKey(text) })
		if err != nil {
			return
		}
		for _, form := range []string{k.String(), k.Hex(), "pear://" + k.String()} {
			if again, err := domain.ParsePublicKey(form); err != nil || again != k {
				t.Errorf("%q read back as %s, %v", form, again, err)
			}
		}
	})
}

func FuzzParseSecret(f *testing.F) {
	f.Add(strings.Repeat("ab", 32))
	f.Add(strings.Repeat("y", 52))
	f.Fuzz(func(t *testing.T, text string) {
		var secret domain.Secret
		var seed domain.Seed
		var err, seedErr error
		cost.Parsing.Check(t, len(text), func() { secret, err = domain.ParseSecret(text) })
		cost.Parsing.Check(t, len(text), func() { seed, seedErr = domain.ParseSeed(text) })
		if (err == nil) != (seedErr == nil) {
			t.Errorf("%q as a secret: %v, as a seed: %v", text, err, seedErr)
		}
		if err != nil {
			return
		}
		if again, err := domain.ParseSecret(secret.RevealText()); err != nil || !again.Equal(secret) || seed.RevealText() != secret.RevealText() {
			t.Errorf("%q reads as %q, and that as %q, %v", text, secret.RevealText(), again.RevealText(), err)
		}
	})
}
