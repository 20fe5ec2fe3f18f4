package web

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
)

// Counters on the page of the node are grouped by what they are about, with the words of an operator. One that has none here is shown
// with its own text, under otherCounters.

// section is a group of counters.
type section struct {
	Name  string
	Note  string // what they mean for the operator
	Facts []fact
	Zeros []fact // counters that are zero, folded on the page
	ID    string // of the folded part
}

const otherCounters = "Other"

// counterWords are the names of the node's counters on the page, by section and in their order there. Labels follow their name.
var counterWords = []struct {
	section, note string
	words         []struct{ name, words string }
}{
	{"DHT", "Requests without an answer are usual: nodes come and go.", []struct{ name, words string }{
		{"dht_queries", "Searches for a key"},
		{"dht_requests", "Requests sent"},
		{"dht_request_retries", "Requests sent again"},
		{"dht_request_timeouts", "Requests without an answer"},
		{"dht_received_requests", "Requests of other nodes"},
		{"dht_received_responses", "Answers of other nodes"},
		{"dht_dropped_datagrams", "Datagrams dropped"},
	}},
	{"Connections", "Those to clients, of clients that register, and to relays.", []struct{ name, words string }{
		{"connections_opened", "Opened"},
		{"connections_closed", "Closed"},
		{"connections_broken", "Closed after invalid data"},
		{"path_changes", "Changes to another kind of path"},
		{"handshakes_read", "Handshakes read"},
		{"handshakes_invalid", "Handshakes that were invalid"},
		{"handshakes_blocked", "Handshakes of keys that may not connect"},
		{"udx_streams_opened", "Streams opened"},
		{"udx_packets_received", "Packets received"},
		{"udx_retransmissions", "Packets sent again"},
		{"udx_black_holes", "Streams closed because large packets were lost"},
		{"state_errors", "Bugs found in the states of connections"},
	}},
	{"Hole punching", "Attempts to open a direct path through the NATs of both sides.", []struct{ name, words string }{
		{"holepunch_open", "Not needed, one side is open"},
		{"holepunch_consistent", "Begun, consistent ports"},
		{"holepunch_random", "Begun, random ports that are guessed"},
		{"holepunch_results", "Ended"},
		{"holepunch_later", "Postponed, one guess at a time"},
		{"port_mappings", "Ports mapped at the router"},
		{"nat_drifts", "Lost because this NAT changed the port"},
	}},
	{"Relays", "Third parties that carry connections without a direct path.", []struct{ name, words string }{
		{"relay_attempts", "Asked to carry a connection"},
		{"relay_successes", "Carried one"},
		{"relay_aborts", "Not reached, or without the other side"},
		{"relay_refusals", "Rejected with a reason"},
		{"relay_upgrades", "Left for a direct path"},
		{"path_takeovers", "Took over from a bad direct path"},
	}},
	{"Limits", "What was dropped to keep the scraper small. Many in a short time are an attack, or a client out of control.", []struct{ name, words string }{
		{"handshakes_refused", "Handshakes dropped"},
		{"handshake_answers_withheld", "Answers not sent, too large for their request"},
		{"unproven_connections_closed", "Connections closed before they proved their key"},
		{"unread_answers", "Answers that were not read"},
		{"sets_dropped", "Sets of targets dropped"},
	}},
}

// sectionsOf groups all counters of a scraper since its start.
func sectionsOf(s domain.ScraperStats, node []ports.Counter) []section {
	sections := []section{scrapeSection(s), dialSection(s), registrationSection(s)}
	shown := map[string]bool{}
	for _, group := range counterWords {
		out := section{Name: group.section, Note: group.note}
		for _, known := range group.words {
			for _, c := range node {
				if c.Name == known.name {
					shown[c.Name] = true
					out.Facts = append(out.Facts, fact{labelled(known.words, c.Labels), number(c.Value)})
				}
			}
		}
		if group.section == "Limits" {
			for _, limit := range domain.Limits() {
				out.Facts = append(out.Facts, fact{"Registrations cut off: " + strings.ToLower(limitWords(limit)), number(s.ConnectionsDenied[limit])})
			}
		}
		sections = append(sections, out)
	}
	other := section{Name: otherCounters}
	for _, c := range node {
		if !shown[c.Name] {
			other.Facts = append(other.Facts, fact{labelled(strings.TrimSuffix(cmp.Or(c.Help, c.Name), "."), c.Labels), number(c.Value)})
		}
	}
	sections = slices.DeleteFunc(append(sections, other), func(s section) bool { return len(s.Facts) == 0 })
	for i := range sections {
		sections[i].fold()
	}
	return sections
}

// fold separates the counters that are zero from the others.
func (s *section) fold() {
	all := s.Facts
	s.Facts = nil
	for _, f := range all {
		if f.Value == "0" {
			s.Zeros = append(s.Zeros, f)
		} else {
			s.Facts = append(s.Facts, f)
		}
	}
	s.ID = "zeros-" + strings.ReplaceAll(strings.ToLower(s.Name), " ", "-")
}

func scrapeSection(s domain.ScraperStats) section {
	out := section{Name: "Scrapes", Facts: []fact{{"Requested", number(s.Scrapes)}}}
	for _, reason := range domain.FailureReasons() {
		out.Facts = append(out.Facts, fact{"Failed: " + failureWords(reason), number(s.ScrapesFailed[reason])})
	}
	return out
}

func dialSection(s domain.ScraperStats) section {
	return section{Name: "Dials to clients", Note: "A second connection is dialled for a direct path after a relay took over.", Facts: []fact{
		{"All", number(s.Dials)}, {"First dials of a session that connected", number(s.Paths.FirstConnected)}, {"First dials of a session that failed", number(s.Paths.FirstFailed)},
		{"Second ones that were direct", number(s.Paths.SecondDirect)}, {"Second ones that were relayed, too", number(s.Paths.SecondRelayed)},
		{"Second ones that failed", number(s.Paths.SecondFailed)},
	}}
}

func registrationSection(s domain.ScraperStats) section {
	out := section{Name: "Registrations", Facts: []fact{
		{"Accepted", number(s.Registrations)}, {"Aliases taken over by another key", number(s.Takeovers)},
		{"Two running clients with one key", number(s.SharedIdentities)}, {"Aliases expired", number(s.Expired)},
		{"Aliases whose client said goodbye", number(s.Left)}, {"Aliases forgotten by the operator", number(s.Forgotten)},
		{"Changes not stored", number(s.StoreFailures)}, {"Damages of the alias table repaired", number(s.StoreDamages)},
		{"Targets file not written", number(s.TargetsFailures)},
	}}
	for _, reason := range domain.RejectionReasons() {
		out.Facts = append(out.Facts, fact{"Rejected: " + strings.ToLower(reasonWords(reason)), number(s.Rejected[reason])})
	}
	return out
}

// labelled appends the values of a counter's labels to its words.
func labelled(words string, labels []ports.Label) string {
	for i, l := range labels {
		if words += ", "; i == 0 {
			words = strings.TrimSuffix(words, ", ") + ": "
		}
		words += cmp.Or(labelWords[l.Value], l.Value)
	}
	return words
}

// labelWords are the values of labels that need other words.
var labelWords = map[string]string{
	"won": "succeeded", "lost": "failed", "consistent": "consistent ports", "random": "random ports",
	"address": "too many of one address", "network": "too many of one network", "queue": "waited too long", "relays": "too many through one node",
	"sender": "too many of one sender", "share": "beyond a fair share", "socket": "too many on one socket",
	"message": "message too long", "memory": "too much memory", "total": "too much memory in all", "size": "too large", "time": "not complete in time",
	"withheld": "delayed or rejected", "closed": "connection closed",
}

// failureWords describes the reason of a failed scrape.
func failureWords(reason string) string {
	words := map[string]string{
		domain.ReasonCanceled:     "cancelled by Prometheus",
		domain.ReasonClient:       "the client did not pass it on",
		domain.ReasonClosed:       "the scraper closed",
		domain.ReasonConnection:   "the connection broke",
		domain.ReasonExporter:     "the exporter failed",
		domain.ReasonNotConnected: "no connection to the client",
		domain.ReasonRemote:       "reported by an older client",
		domain.ReasonRequest:      "the target does not allow it",
		domain.ReasonStarting:     "the scraper was starting",
		domain.ReasonTimeout:      "no answer in time",
		domain.ReasonUnknownAlias: "unknown alias",
	}
	return cmp.Or(words[reason], reason)
}

func number(n uint64) string { return strconv.FormatUint(n, 10) }
