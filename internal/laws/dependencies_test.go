package laws

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var dtlsModule = regexp.MustCompile(`(?m)^\tgithub.com/pion/dtls(/v\d+)? (v\S+)`)

// DTLS is a dependency of the STUN library and is never used. It has had vulnerabilities, so the policy names the linked version.
func TestSecurityPolicyNamesTheLinkedDTLS(t *testing.T) {
	enter(t)
	modules, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	policy, err := os.ReadFile("SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	found := dtlsModule.FindAllStringSubmatch(string(modules), -1)
	if len(found) != 1 {
		t.Fatalf("go.mod has %d versions of pion/dtls", len(found))
	}
	if want := "`github.com/pion/dtls" + found[0][1] + "` " + found[0][2]; !strings.Contains(string(policy), want) {
		t.Errorf("SECURITY.md does not name %s", want)
	}
	for _, p := range packages(t) {
		for _, f := range p.code {
			for _, imported := range f.imports() {
				if strings.HasPrefix(imported, "github.com/pion/") && (p.path != "adapters/stun" || imported != "github.com/pion/stun/v2") {
					t.Errorf("%s imports %s: of pion, only the STUN messages are used", f.name, imported)
				}
			}
		}
	}
}
