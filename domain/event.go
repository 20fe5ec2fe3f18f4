package domain

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"
)

// Event is a typed event with the attributes of the reference implementation's event and often more. It is declared as its struct
// and its log record, one below the other, and nothing else is known of it elsewhere. No event carries a secret.
type Event interface {
	LogRecord() LogRecord
}

// Side is the service that a connection belongs to.
type Side string

// The three kinds of connections.
const (
	SideMetrics  Side = "metrics"  // a client's metrics server, scraped by the scraper
	SideRegister Side = "register" // the scraper's registration service, used by clients
	SideScrape   Side = "scrape"   // a scraper's session with a client
)

// ConnectionOpen reports a new connection. Every later event about it has the uid.
type ConnectionOpen struct {
	UID  UID
	Side Side
	Peer Peer
}

func (e ConnectionOpen) LogRecord() LogRecord {
	return connection("connection-open", e.Side).uid(e.UID).side(e.Side).peer(e.Peer).text("path", e.Peer.Path.String())
}

// ConnectionClose reports the end of a connection, exactly once for each ConnectionOpen.
type ConnectionClose struct {
	UID  UID
	Side Side
	Peer Peer
}

func (e ConnectionClose) LogRecord() LogRecord {
	return connection("connection-close", e.Side).uid(e.UID).side(e.Side).peer(e.Peer)
}

// ConnectionError reports the error that ended a connection. Such errors are expected on the internet.
type ConnectionError struct {
	UID  UID
	Side Side
	Peer Peer
	Err  error
}

func (e ConnectionError) LogRecord() LogRecord {
	peer := PeerClient
	if e.Side == SideMetrics {
		peer = PeerScraper
	}
	return connection("connection-error", e.Side).uid(e.UID).side(e.Side).peer(e.Peer).failed(e.Err, peer)
}

// ConnectionIgnore reports a connection that the scraper's sessions do not use: it carries registrations, or its session has
// ended meanwhile. Only useful for debugging.
type ConnectionIgnore struct {
	UID  UID
	Peer Peer
}

func (e ConnectionIgnore) LogRecord() LogRecord {
	return debug("connection-ignore").uid(e.UID).peer(e.Peer)
}

// FirewallBlock reports that a peer other than the client's scrapers tried to connect to the metrics server.
type FirewallBlock struct {
	RemoteKey PublicKey
	Payload   HandshakePayload
	Addr      netip.AddrPort
}

func (e FirewallBlock) LogRecord() LogRecord {
	return debug("firewall-block").strangers().remote(e.RemoteKey).text("remote_address", e.Addr.String())
}

// AliasAttempt reports the start of a registration. The uid names the attempt.
type AliasAttempt struct {
	UID      UID
	Scraper  PublicKey
	Register Register
	Targets  int // of a set, which has no alias
}

func (e AliasAttempt) LogRecord() LogRecord {
	return debug("alias-attempt").uid(e.UID).scraper(e.Scraper).register(e.Register).countIfSet("targets", e.Targets)
}

// RegisterAliasSuccess reports a successful registration; Updated, whether it changed the scraper's entry. The alias of a set is empty,
// and Rejected has the targets that the scraper did not take.
type RegisterAliasSuccess struct {
	UID      UID
	Scraper  PublicKey
	Alias    Alias
	Targets  int // of a set
	Rejected []RejectedTarget
	Updated  bool
}

func (e RegisterAliasSuccess) LogRecord() LogRecord {
	r := info("register-alias-success").uid(e.UID).scraper(e.Scraper).aliasIfSet(e.Alias).countIfSet("targets", e.Targets).flag("updated", e.Updated)
	if len(e.Rejected) > 0 {
		r = r.rejectedTargets(len(e.Rejected), e.Rejected[0])
	}
	return r
}

// SetUnsupported reports that a scraper does not know sets. The targets are registered there each by itself, Served of them.
type SetUnsupported struct {
	Scraper PublicKey
	Targets int
	Served  int
}

func (e SetUnsupported) LogRecord() LogRecord {
	r := info("set-unsupported").scraper(e.Scraper).count("targets", e.Targets).count("served", e.Served).
		text("effect", "the scraper is of an older version, or of another implementation: each target is registered there with a key and a connection of its own")
	if e.Served < e.Targets {
		r.Level = slog.LevelWarn
		r = r.text("hint", "the other targets are not scraped: update the scraper, or run several clients")
	}
	return r
}

// RegisterAliasError reports a failed registration and the time of the next attempt. ConnectionFailed is true if the connection
// failed before an answer, false if the scraper rejected the registration.
type RegisterAliasError struct {
	UID              UID
	Scraper          PublicKey
	Alias            Alias
	Err              error
	ConnectionFailed bool
	RetryIn          time.Duration
}

func (e RegisterAliasError) LogRecord() LogRecord {
	return warn("register-alias-error").uid(e.UID).scraper(e.Scraper).aliasIfSet(e.Alias).failed(e.Err, PeerScraper).duration("retry_in", e.RetryIn)
}

// LeaveAliasError reports that the goodbye of a stopping client failed: the scraper keeps the alias until it expires, and scrapes
// of it fail.
type LeaveAliasError struct {
	Scraper PublicKey
	Alias   Alias
	Err     error
}

func (e LeaveAliasError) LogRecord() LogRecord {
	return warn("leave-alias-error").scraper(e.Scraper).aliasIfSet(e.Alias).failed(e.Err, PeerScraper).
		text("effect", "the scraper lists the alias until it expires")
}

// MetricsRequest reports a scraper's request for metrics. Target is empty where the client has one, here and in the next events.
type MetricsRequest struct {
	UID    UID
	Peer   Peer
	Target Alias
}

func (e MetricsRequest) LogRecord() LogRecord {
	return debug("metrics-request").uid(e.UID).peer(e.Peer).aliasIfSet(e.Target)
}

// MetricsSuccess reports that metrics were sent.
type MetricsSuccess struct {
	UID    UID
	Peer   Peer
	Target Alias
	Bytes  int
	Took   time.Duration
}

func (e MetricsSuccess) LogRecord() LogRecord {
	return debug("metrics-success").uid(e.UID).peer(e.Peer).aliasIfSet(e.Target).count("bytes", e.Bytes).duration("took", e.Took)
}

// MetricsError carries the full reason of a failed request for metrics. The scraper receives the uid only.
type MetricsError struct {
	UID    UID
	Peer   Peer
	Target Alias
	Err    error
}

func (e MetricsError) LogRecord() LogRecord {
	return warn("metrics-error").uid(e.UID).peer(e.Peer).aliasIfSet(e.Target).err(e.Err)
}

// AliasRequest reports a request to register with a valid secret.
type AliasRequest struct {
	UID      UID
	Peer     Peer
	Register Register
}

func (e AliasRequest) LogRecord() LogRecord {
	return debug("alias-request").uid(e.UID).peer(e.Peer).register(e.Register)
}

// AliasSuccess reports that a registration is durable. TakenFrom is the key that lost the alias, usually zero.
type AliasSuccess struct {
	UID       UID
	Peer      Peer
	Register  Register
	Updated   bool
	TakenFrom PublicKey
}

func (e AliasSuccess) LogRecord() LogRecord {
	return info("alias-success").uid(e.UID).peer(e.Peer).register(e.Register).flag("updated", e.Updated).keyIfSet("taken_from", e.TakenFrom)
}

// AliasUnauthorised reports a registration with a wrong secret. None of its fields was checked.
type AliasUnauthorised struct {
	UID      UID
	Peer     Peer
	Register Register
}

// LogRecord omits hostname and service: they are unverified, and the alias is enough.
func (e AliasUnauthorised) LogRecord() LogRecord {
	return debug("alias-unauthorised").strangers().uid(e.UID).peer(e.Peer).rejected(e.Register.Alias).key("target_key", e.Register.Key)
}

// AliasError reports that an authorised registration failed. The alias is empty for a set.
type AliasError struct {
	UID   UID
	Peer  Peer
	Alias Alias
	Key   PublicKey
	Err   error
}

func (e AliasError) LogRecord() LogRecord {
	return warn("alias-error").uid(e.UID).peer(e.Peer).rejected(e.Alias).key("target_key", e.Key).err(e.Err)
}

// SetTargets reports that the registration of a set is durable.
type SetTargets struct {
	UID           UID
	Peer          Peer
	Key           PublicKey
	Targets       int // of the client
	Updated       bool
	Added         int
	Changed       int
	Removed       int
	PinsMoved     int
	TakenFrom     int // other clients that had one of the aliases
	Rejected      int
	FirstRejected RejectedTarget // if any
}

func (e SetTargets) LogRecord() LogRecord {
	r := info("set-targets").uid(e.UID).peer(e.Peer).key("target_key", e.Key).count("targets", e.Targets).
		count("added", e.Added).count("changed", e.Changed).count("removed", e.Removed).countIfSet("pins_moved", e.PinsMoved).countIfSet("taken_from", e.TakenFrom)
	return r.rejectedTargets(e.Rejected, e.FirstRejected)
}

// SetExpired reports that the entries of a set were removed because they were not renewed.
type SetExpired struct {
	Key     PublicKey
	Targets int
}

func (e SetExpired) LogRecord() LogRecord {
	return info("set-expired").by(e.Key).key("target_key", e.Key).count("targets", e.Targets)
}

// IdentityShared reports that two running clients register under the same key in turns: a copied seed or an old instance that was
// not stopped. The scraper reports it, and so do the clients that it notifies. One of them is scraped.
type IdentityShared struct {
	Alias Alias
	Key   PublicKey
}

func (e IdentityShared) LogRecord() LogRecord {
	return warn("identity-shared").by(e.Key).aliasIfSet(e.Alias).key("key", e.Key).
		text("hint", "another running client has the same seed, and only one of them is scraped; stop one, or set another seed file and alias for it")
}

// SetAlias reports a new or changed entry of the table.
type SetAlias struct{ Entry Entry }

func (e SetAlias) LogRecord() LogRecord { return debug("set-alias").entry(e.Entry) }

// AliasExpired reports that an entry was removed because it was not renewed.
type AliasExpired struct{ Entry Entry }

func (e AliasExpired) LogRecord() LogRecord { return info("alias-expired").entry(e.Entry) }

// AliasForgotten reports that the operator removed an entry.
type AliasForgotten struct{ Entry Entry }

func (e AliasForgotten) LogRecord() LogRecord {
	return info("alias-forgotten").unlimited().entry(e.Entry)
}

// AliasPinned reports that the operator pinned an alias to a key.
type AliasPinned struct{ Pin Pin }

func (e AliasPinned) LogRecord() LogRecord { return info("alias-pinned").unlimited().pin(e.Pin) }

// AliasUnpinned reports that the operator removed a pin.
type AliasUnpinned struct{ Pin Pin }

func (e AliasUnpinned) LogRecord() LogRecord { return info("alias-unpinned").unlimited().pin(e.Pin) }

// ImportAliases reports the import of another program's file at the first start.
type ImportAliases struct {
	Entries int
	Skipped []error
}

func (e ImportAliases) LogRecord() LogRecord {
	return info("import-aliases").unlimited().count("entries", e.Entries).skipped(e.Skipped)
}

// ImportAliasesError reports that such a file could not be read.
type ImportAliasesError struct{ Err error }

func (e ImportAliasesError) LogRecord() LogRecord {
	return warn("import-aliases-error").unlimited().err(e.Err)
}

// SecretsChanged reports the secrets that are valid from now on, by fingerprint.
type SecretsChanged struct{ Fingerprints []string }

func (e SecretsChanged) LogRecord() LogRecord {
	return info("secrets-changed").unlimited().text("fingerprints", strings.Join(e.Fingerprints, " "))
}

// IdentityAdded reports an identity that may register from now on.
type IdentityAdded struct{ Name string }

func (e IdentityAdded) LogRecord() LogRecord {
	return info("identity-added").unlimited().text("identity", e.Name)
}

// IdentityRevoked reports an identity that may not register any more. Its aliases are removed.
type IdentityRevoked struct {
	Name    string
	Aliases int
}

func (e IdentityRevoked) LogRecord() LogRecord {
	return info("identity-revoked").unlimited().text("identity", e.Name).count("aliases", e.Aliases)
}

// LoadAliases reports the content of the store at start. Skipped entries were kept aside, not deleted.
type LoadAliases struct {
	Entries int
	Skipped []error
}

func (e LoadAliases) LogRecord() LogRecord {
	return info("load-aliases").unlimited().count("entries", e.Entries).skipped(e.Skipped)
}

// LoadAliasesError reports that the store could not be read.
type LoadAliasesError struct{ Err error }

func (e LoadAliasesError) LogRecord() LogRecord {
	return failure("load-aliases-error").unlimited().err(e.Err)
}

// AliasesUpdated reports that the targets file was written.
type AliasesUpdated struct{ Entries int }

func (e AliasesUpdated) LogRecord() LogRecord {
	return info("aliases-updated").count("entries", e.Entries)
}

// WriteAliasesError reports that the store or the targets file could not be written.
type WriteAliasesError struct {
	What string // "store" or "targets file"
	Err  error
}

func (e WriteAliasesError) LogRecord() LogRecord {
	return failure("write-aliases-error").text("what", e.What).counts(e.What).strangers().err(e.Err) // one for each registration on a full disk
}

// StoreDamaged reports damage of the alias store that was repaired.
type StoreDamaged struct{ Damage StoreDamage }

func (e StoreDamaged) LogRecord() LogRecord {
	return failure("store-damaged").unlimited().count("recovered", e.Damage.Recovered).text("kept", e.Damage.Kept).
		text("problems", strings.Join(e.Damage.Problems, "; "))
}

// UpstreamError reports a failed scrape. UID is of the session's connection, zero without one.
type UpstreamError struct {
	UID   UID
	Alias Alias
	Key   PublicKey
	Err   error
}

func (e UpstreamError) LogRecord() LogRecord {
	return warn("upstream-error").uid(e.UID).alias(e.Alias).remote(e.Key).failed(e.Err, PeerClient)
}

// NetworkLost reports that no DHT node answers, and the known causes.
type NetworkLost struct {
	BootstrapNodes int              // tried
	Own            []netip.AddrPort // of their addresses that are this node's own
	NoIPv4         bool             // this machine has no IPv4 address
	TURN           error            // why no TURN server relays; nil without one
}

func (e NetworkLost) LogRecord() LogRecord {
	nodes := "bootstrap nodes"
	if e.BootstrapNodes == 1 {
		nodes = "bootstrap node"
	}
	hint := "check that UDP is let out and that the bootstrap nodes run; one open UDP port is enough to a scraper with --dht.public-address, and TCP or TLS to a TURN server (--turn.server); doctor looks at each step"
	switch {
	case e.TURN != nil:
		hint = fmt.Sprintf("no UDP gets out, and no TURN server relays: %v; doctor looks at each step", e.TURN)
	case e.NoIPv4:
		hint = "this machine has no IPv4 address but loopback, and HyperDHT needs one; connect it to a network with IPv4, or set a TURN server (--turn.server)"
	case len(e.Own) > 0:
		hint = fmt.Sprintf("the bootstrap address %v is this node's own; set another node, or run dhtprom-scraper bootstrap on that port", e.Own[0])
	}
	return warn("network-lost").text("err", fmt.Sprintf("no DHT node answers, %d %s tried", e.BootstrapNodes, nodes)).
		count("bootstrap_nodes_tried", e.BootstrapNodes).text("hint", hint)
}

// NetworkFound reports that DHT nodes answer, after none did.
type NetworkFound struct{ Nodes int }

func (e NetworkFound) LogRecord() LogRecord { return info("network-found").count("nodes", e.Nodes) }

// SessionState is the state of a scraper's session with one client.
type SessionState uint8

// The states; package app has the diagram.
const (
	SessionConnecting SessionState = iota
	SessionOpen
	SessionWaiting
	SessionClosed
)

func (s SessionState) String() string {
	switch s {
	case SessionConnecting:
		return "connecting"
	case SessionOpen:
		return "open"
	case SessionWaiting:
		return "waiting"
	case SessionClosed:
		return "closed"
	default:
		return "unknown"
	}
}

// MarshalText makes JSON use the name.
func (s SessionState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// SessionWait reports that a session has no connection, and the time of its next dial.
type SessionWait struct {
	Key     PublicKey
	Err     error
	RetryIn time.Duration
}

func (e SessionWait) LogRecord() LogRecord {
	return debug("session-wait").remote(e.Key).failed(e.Err, PeerClient).duration("retry_in", e.RetryIn)
}
