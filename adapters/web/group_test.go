package web_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/web"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
)

// follower is a scraper in a group that member b leads, with an alias that was not scraped here and one that was.
func follower() *scraper {
	s := newScraper()
	started := time.Now().Add(-time.Hour)
	s.group = domain.Group{
		Self: "1", Leader: "2", Term: 7, Connected: true, Since: started.Add(time.Minute),
		Members: []domain.Member{
			{ID: "1", Name: "a", URL: "http://a:30000", Version: "1.2.3", Started: started, Missed: domain.NewKeyList([]domain.PublicKey{{8}, {9}}), Pinned: domain.NewKeyList([]domain.PublicKey{{5}, {6}, {7}})},
			{ID: "2", Name: "b<b>", URL: "http://b:30000/below", Version: "1.2.3", Started: started, Settled: 7, Clients: 3, Pinned: domain.NewKeyList([]domain.PublicKey{{8}})},
			{ID: "3", Name: "c", URL: "javascript:alert(1)", Version: "1.2.2", Started: started, Leaving: true},
		},
	}
	s.aliases = []domain.AliasStatus{
		{Entry: domain.Entry{Alias: "scraped", Key: domain.PublicKey{2}}, Holder: "b<b>", Scrape: domain.Scrape{At: started, Success: started, Bytes: 9}},
		{Entry: domain.Entry{Alias: "web", Key: domain.PublicKey{3}}, Holder: "b<b>", Why: errors.New("left over")},
	}
	s.node = ports.NodeStatus{State: "online"}
	return s
}

func TestMembersWithoutTheTableListNothing(t *testing.T) {
	s := follower()
	s.loading, s.notReady = true, true
	server := serve(t, s)
	for _, path := range []string{"/sd/prometheus", "/", "/alias?name=web", "/api/v1/aliases", "/api/v1/pins", "/scrape/web/metrics", "/-/ready"} {
		res, body := get(t, server.URL+path)
		if res.StatusCode != http.StatusServiceUnavailable || strings.Contains(body, "[]") {
			t.Errorf("%s: %d %q", path, res.StatusCode, body)
		}
	}
	if _, body := get(t, server.URL+"/metrics"); strings.Contains(body, "\ndhtprom_aliases ") {
		t.Error("an incomplete table is counted")
	}
}

func TestMembersShowTheHoldersOfConnections(t *testing.T) {
	s := follower()
	server := serve(t, s)
	_, page := get(t, server.URL+"/")
	for _, want := range []string{"Held by b&lt;b&gt;", "1 up, 0 down, 1 away of 2", "In a group"} {
		if !strings.Contains(page, want) {
			t.Errorf("the list has no %q", want)
		}
	}
	for _, not := range []string{"Not connected", "left over", "without its record"} {
		if strings.Contains(page, not) {
			t.Errorf("the list has %q", not)
		}
	}
	if _, page := get(t, server.URL+"/alias?name=web"); !strings.Contains(page, "Held by b&lt;b&gt;") {
		t.Error("the alias's page does not name the holder")
	}
	_, body := get(t, server.URL+"/api/v1/aliases")
	var list struct{ Data web.Aliases }
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list.Data.Aliases) != 2 || list.Data.Aliases[1].Holder != "b<b>" {
		t.Errorf("%v: %s", err, body)
	}
	_, metrics := get(t, server.URL+"/metrics")
	if strings.Contains(metrics, "dhtprom_target_connected{") || strings.Contains(metrics, "\ndhtprom_announced_nodes ") {
		t.Error("a member has metrics of connections that it does not hold")
	}
	if !strings.Contains(metrics, `dhtprom_target_expires_timestamp_seconds{alias="web"}`) {
		t.Error("a member has no metrics of the table")
	}
	if res, body := get(t, server.URL+"/-/ready"); res.StatusCode != http.StatusOK || !strings.Contains(body, "member of its group") {
		t.Errorf("readiness: %d %q", res.StatusCode, body)
	}
}

func TestGroupsAreShown(t *testing.T) {
	s := follower()
	server := serve(t, s)
	_, page := get(t, server.URL+"/node")
	for _, want := range []string{"b&lt;b&gt; leads since", `<a href="http://b:30000/below">`, "this scraper", "<td>Leads</td><td>3, 1 for others</td>", "<td>Member</td><td>0, 3 for others, 2 out of reach</td>", "<td>Stopping</td><td>0</td>"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if strings.Contains(page, `href="javascript`) {
		t.Error("the URL of a member is a script")
	}
	_, body := get(t, server.URL+"/api/v1/status")
	var status struct{ Data web.Status }
	if err := json.Unmarshal([]byte(body), &status); err != nil || status.Data.Group == nil {
		t.Fatalf("%v: %s", err, body)
	}
	g := status.Data.Group
	if g.Self != "1" || g.Leader != "2" || g.Term != 7 || !g.StoreReachable || len(g.Members) != 3 || g.Members[1].Connections != 3 || g.Members[0].Missed != 2 || g.Members[0].Pinned != 3 || g.LeaderSince == nil {
		t.Errorf("%+v", g)
	}
	_, metrics := get(t, server.URL+"/metrics")
	for _, want := range []string{"group_leader 0", "group_members 3", "group_store_reachable 1", "group_term 7", "group_clients_missed 2", "group_clients_pinned 3", "group_scrapes_passed_on_total 9", "group_scrapes_taken_back_total 2"} {
		if !strings.Contains(metrics, "\ndhtprom_"+want+"\n") {
			t.Errorf("no metric %s", want)
		}
	}
	s.group.Connected = false
	for _, path := range []string{"/", "/node"} {
		if _, page := get(t, server.URL+path); !strings.Contains(page, "store") || !strings.Contains(page, "cannot be reached") {
			t.Errorf("%s does not show that the store cannot be reached", path)
		}
	}
	s.group.Connected, s.group.Leader, s.group.Since = true, "", time.Time{}
	if _, page := get(t, server.URL+"/"); !strings.Contains(page, "No leader") {
		t.Error("the list does not show that no member leads")
	}
	s.group.Leader = s.group.Self
	if _, metrics := get(t, server.URL+"/metrics"); !strings.Contains(metrics, "\ndhtprom_group_leader 1\n") || !strings.Contains(metrics, "\ndhtprom_announced_nodes ") {
		t.Error("the leader has not the metrics of one")
	}
	s.group = domain.Group{}
	if _, page := get(t, server.URL+"/node"); strings.Contains(page, "h-group") {
		t.Error("there is a group without one")
	}
	if _, metrics := get(t, server.URL+"/metrics"); strings.Contains(metrics, "dhtprom_group_") {
		t.Error("there are metrics of a group without one")
	}
}

func TestChangesAtAStandbyNameTheLeader(t *testing.T) {
	s := follower()
	s.changeErr = fmt.Errorf("%w: b does, at http://b:30000", domain.ErrNotLeader)
	h := handlerWith(t, newLoop(t), s, func(c *web.Config) { c.Authenticated = func(*http.Request) bool { return true } })
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	for path, method := range map[string]string{"/api/v1/aliases/web": http.MethodDelete, "/api/v1/pins/web": http.MethodPut} {
		res, body := do(t, method, server.URL+path)
		if res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "b does, at http://b:30000") {
			t.Errorf("%s %s: %d %q", method, path, res.StatusCode, body)
		}
	}
}
