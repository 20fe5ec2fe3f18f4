package laws

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var dtlsModule = regexp.MustCompile(`(?m)^\tgithub.com/pion/dtls(/v\d+)? (v\S+)`)

// pionUsers are the packages that may import pion's libraries, and which.
var pionUsers = map[string][]string{
	"adapters/stun":           {"github.com/pion/stun/v2"},
	"adapters/turn":           {"github.com/pion/stun/v2"},
	"adapters/simnet/simturn": {"github.com/pion/stun/v2"},
	"node/turnserver":         {"github.com/pion/turn/v5", "github.com/pion/logging"},
}

// DTLS is a dependency of the libraries of STUN and TURN and is never used. It has had vulnerabilities, so the policy names the linked
// versions.
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
	if len(found) != 2 {
		t.Fatalf("go.mod has %d versions of pion/dtls: one of STUN, one of TURN", len(found))
	}
	for _, version := range found {
		if want := "`github.com/pion/dtls" + version[1] + "` " + version[2]; !strings.Contains(string(policy), want) {
			t.Errorf("SECURITY.md does not name %s", want)
		}
	}
	for _, p := range packages(t) {
		for _, f := range p.code {
			for _, imported := range f.imports() {
				if strings.HasPrefix(imported, "github.com/pion/") && !slices.Contains(pionUsers[p.path], imported) {
					t.Errorf("%s imports %s: of pion, only the STUN messages and the TURN server are used", f.name, imported)
				}
			}
		}
	}
}
