package targets

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/cost"
)

func read(t *testing.T, path string) (aliases []domain.Register, bad []error, err error) {
	t.Helper()
	l := make(loop, 1)
	New(l, path).Read(func(a []domain.Register, b []error, e error) { aliases, bad, err = a, b, e })
	(<-l)()
	return aliases, bad, err
}

func TestOwnFileIsReadBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "targets.json")
	f := New(make(loop, 1), path)
	if err := write(t, f, entry("a", "host", "svc"), entry("b:9100/x", "", ""), entry("c:"+key+":h:s", "h", "s")); err != nil {
		t.Fatal(err)
	}
	got, bad, err := read(t, path)
	k := domain.PublicKey{1, 2, 3}
	want := []domain.Register{
		{Alias: "a", Key: k, Hostname: "host", Service: "svc"}, {Alias: "b:9100/x", Key: k},
		{Alias: "c:" + domain.Alias(key) + ":h:s", Key: k, Hostname: "h", Service: "s"},
	}
	if err != nil || len(bad) > 0 || !slices.Equal(got, want) {
		t.Errorf("%+v, %v, %v", got, bad, err)
	}
}

func TestFileOfTheBridgeIsRead(t *testing.T) {
	// As lib/prom-targets.js writes it: JSON.stringify(content, null, 1).
	content := "[\n {\n  \"labels\": {\n   \"job\": \"aliases\"\n  },\n  \"targets\": [\n   \"web:" + key + ":my-host:my-service\",\n   \"nonsense\",\n   \"a:notakey:h:s\",\n   \"x:h:s\"\n  ]\n }\n]"
	path := filepath.Join(t.TempDir(), "targets.json")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	got, bad, err := read(t, path)
	if err != nil || len(bad) != 3 || len(got) != 1 || got[0] != (domain.Register{Alias: "web", Key: domain.PublicKey{1, 2, 3}, Hostname: "my-host", Service: "my-service"}) {
		t.Errorf("%+v, %v, %v", got, bad, err)
	}
	if err := os.WriteFile(path, []byte(content[:40]), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := read(t, path); err == nil {
		t.Error("half a file was read")
	}
	if got, _, err := read(t, filepath.Join(t.TempDir(), "none")); err != nil || got != nil {
		t.Errorf("no file: %v, %v", got, err)
	}
}

func FuzzParseTarget(f *testing.F) {
	f.Add("a:" + key + ":h:s")
	f.Add("a:b:" + key + "::")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		var r domain.Register
		var err error
		cost.Parsing.Check(t, len(text), func() { r, err = ParseTarget(text) })
		if err != nil {
			return
		}
		// A target has the path form of its alias; the label of its group has the alias itself.
		want := r
		want.Alias = domain.Alias(r.Alias.PathForm())
		again, err := ParseTarget(Target(domain.Entry{Alias: r.Alias, Key: r.Key, Hostname: r.Hostname, Service: r.Service}))
		if err != nil || again != want {
			t.Errorf("%q is %+v, and again %+v, %v", text, r, again, err)
		}
	})
}
