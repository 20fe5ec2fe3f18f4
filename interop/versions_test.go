package interop_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/interop/jspeer"
)

// feature is something that the tests use of the packages and that older versions of one lack. Tests leave it out there.
type feature struct {
	name, of, since string
}

var (
	unorderedMessages  = feature{"unordered messages", "@hyperswarm/secret-stream", "6.7.0"}
	errorCodes         = feature{"codes and causes of errors of calls", "protomux-rpc", "1.7.0"}
	suggestedAddresses = feature{"addresses in front of names of bootstrap nodes", "dht-rpc", "6.14.0"}
	bumps              = feature{"bumps of topics", "hyperdht", "6.24.0"}
	localAndPunched    = feature{"hole punches beside a local address", "hyperdht", "6.33.0"}
	// Without these, a swarm never finds out that a peer has crashed if it has nothing to send.
	keepAlives = feature{"keep-alives by default", "hyperdht", "6.16.0"}
	// Without it, the swarm of a scraper may keep the connection for scrapes and refuse each one that registers under the same key.
	outdatedConnections = feature{"replacement of connections in use by a new one", "hyperswarm", "4.8.0"}
)

// features are all of them: the only differences between versions that the tests know.
var features = []feature{unorderedMessages, errorCodes, keepAlives, outdatedConnections, suggestedAddresses, bumps, localAndPunched}

// in reports whether the installed packages have a feature, and logs it if not.
func (f feature) in(t testing.TB, p *jspeer.Peer) bool {
	t.Helper()
	installed := packages(t, p).Versions[f.of]
	if newer(installed, f.since) {
		return true
	}
	t.Logf("NOT TESTED: %s, of %s since %s, not in %s", f.name, f.of, f.since, installed)
	return false
}

// installed are versions and abilities of the packages, by name.
type installed struct {
	Versions map[string]string
	Features map[string]bool
}

func packages(t testing.TB, p *jspeer.Peer) (of installed) {
	t.Helper()
	p.For(t).Call("packages", nil, &of)
	return of
}

// newer reports whether a version is at least another one.
func newer(version, than string) bool {
	a, b := strings.Split(version, "."), strings.Split(than, ".")
	for i := range min(len(a), len(b)) {
		x, _ := strconv.Atoi(a[i])
		y, _ := strconv.Atoi(b[i])
		if x != y {
			return x > y
		}
	}
	return true
}

// The table is true: a feature is in the packages exactly from its version on. The log lists what is not tested.
func TestTheInstalledPackagesHaveTheFeaturesOfTheirVersions(t *testing.T) {
	t.Parallel()
	p := jspeer.Start(t)
	has := packages(t, p).Features
	for _, f := range features {
		if want := f.in(t, p); has[f.name] != want {
			t.Errorf("%s: in the package %v, by the version %v", f.name, has[f.name], want)
		}
	}
}
