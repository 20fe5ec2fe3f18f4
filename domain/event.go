package domain

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Event is a typed value that says what happened, with the attributes of the reference implementation's event and often
// more. An event is declared as its struct and its log record, one below the other. No event carries a secret.
type Event interface {
	LogRecord() LogRecord
}

// Side says which service of ours a connection belongs to.
type Side string

// The three kinds of connections.
const (
	SideMetrics  Side = "metrics"  // a client's metrics server, scraped by the scraper
	SideRegister Side = "register" // the scraper's registration service, used by clients
	SideScrape   Side = "scrape"   // a scraper's session with a client
)

// ConnectionOpen tells of a new connection. The uid is in every later event about it.
type ConnectionOpen struct {
	UID  UID
	Side Side
	Peer Peer
}

func (e ConnectionOpen) LogRecord() LogRecord {
	return info("connection-open").uid(e.UID).side(e.Side).peer(e.Peer).text("path", e.Peer.Path.String())
}

// ConnectionClose tells that a connection is gone. It comes exactly once for each ConnectionOpen.
type ConnectionClose struct {
	UID  UID
	Side Side
	Peer Peer
}

func (e ConnectionClose) LogRecord() LogRecord {
	return info("connection-close").uid(e.UID).side(e.Side).peer(e.Peer)
}

// ConnectionError tells why a connection broke. Such errors are expected on the internet.
type ConnectionError struct {
	UID  UID
	Side Side
	Peer Peer
	Err  error
}

func (e ConnectionError) LogRecord() LogRecord {
	return info("connection-error").uid(e.UID).side(e.Side).peer(e.Peer).err(e.Err)
}

// ConnectionIgnore tells of a connection that the scraper's sessions do not use: it brings registrations, or its
// session has ended meanwhile. Only useful for debugging.
type ConnectionIgnore struct {
	UID  UID
	Peer Peer
}

func (e ConnectionIgnore) LogRecord() LogRecord {
	return debug("connection-ignore").uid(e.UID).peer(e.Peer)
}

// FirewallBlock tells that someone else than a scraper of ours tried to connect to the metrics server.
type FirewallBlock struct {
	RemoteKey PublicKey
	Payload   HandshakePayload
	Addr      netip.AddrPort
}

func (e FirewallBlock) LogRecord() LogRecord {
	return info("firewall-block").key("remote_key", e.RemoteKey).text("remote_address", e.Addr.String())
}

// AliasAttempt tells that a registration starts. The uid names the attempt.
type AliasAttempt struct {
	UID      UID
	Scraper  PublicKey
	Register Register
}

func (e AliasAttempt) LogRecord() LogRecord {
	return info("alias-attempt").uid(e.UID).key("scraper", e.Scraper).register(e.Register)
}

// RegisterAliasSuccess tells that the scraper has the alias; Updated, whether it learned something new.
type RegisterAliasSuccess struct {
	UID     UID
	Scraper PublicKey
	Alias   Alias
	Updated bool
}

func (e RegisterAliasSuccess) LogRecord() LogRecord {
	return info("register-alias-success").uid(e.UID).key("scraper", e.Scraper).alias(e.Alias).flag("updated", e.Updated)
}

// RegisterAliasError tells that a registration failed, and when the next attempt is. ConnectionFailed is true
// when no answer came because of the connection, false when the scraper refused.
type RegisterAliasError struct {
	UID              UID
	Scraper          PublicKey
	Alias            Alias
	Err              error
	ConnectionFailed bool
	RetryIn          time.Duration
}

func (e RegisterAliasError) LogRecord() LogRecord {
	return warn("register-alias-error").uid(e.UID).key("scraper", e.Scraper).alias(e.Alias).err(e.Err).duration("retry_in", e.RetryIn)
}

// LeaveAliasError tells that a client stops and its goodbye has not arrived: the scraper keeps the alias until it expires,
// and scrapes of it fail.
type LeaveAliasError struct {
	Scraper PublicKey
	Alias   Alias
	Err     error
}

func (e LeaveAliasError) LogRecord() LogRecord {
	return warn("leave-alias-error").key("scraper", e.Scraper).alias(e.Alias).err(e.Err).
		text("effect", "the scraper lists the alias until it expires")
}

// MetricsRequest tells that the scraper asked for metrics.
type MetricsRequest struct {
	UID  UID
	Peer Peer
}

func (e MetricsRequest) LogRecord() LogRecord {
	return debug("metrics-request").uid(e.UID).peer(e.Peer)
}

// MetricsSuccess tells that metrics were sent.
type MetricsSuccess struct {
	UID   UID
	Peer  Peer
	Bytes int
	Took  time.Duration
}

func (e MetricsSuccess) LogRecord() LogRecord {
	return debug("metrics-success").uid(e.UID).peer(e.Peer).count("bytes", e.Bytes).duration("took", e.Took)
}

// MetricsError carries the full reason why there were no metrics. The scraper learns the uid only.
type MetricsError struct {
	UID  UID
	Peer Peer
	Err  error
}

func (e MetricsError) LogRecord() LogRecord {
	return warn("metrics-error").uid(e.UID).peer(e.Peer).err(e.Err)
}

// AliasRequest tells that somebody who knows the secret asks to register.
type AliasRequest struct {
	UID      UID
	Peer     Peer
	Register Register
}

func (e AliasRequest) LogRecord() LogRecord {
	return info("alias-request").uid(e.UID).peer(e.Peer).register(e.Register)
}

// AliasSuccess tells that a registration is durable. TakenFrom is the key that lost the alias, zero mostly.
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

// AliasUnauthorised tells of a registration with a wrong secret. Nothing in it was checked.
type AliasUnauthorised struct {
	UID      UID
	Peer     Peer
	Register Register
}

// LogRecord leaves out hostname and service: nobody vouches for them, and the alias says enough.
func (e AliasUnauthorised) LogRecord() LogRecord {
	return warn("alias-unauthorised").uid(e.UID).peer(e.Peer).rejected(e.Register.Alias).key("target_key", e.Register.Key)
}

// AliasError tells that an authorised registration failed.
type AliasError struct {
	UID   UID
	Peer  Peer
	Alias Alias
	Err   error
}

func (e AliasError) LogRecord() LogRecord {
	return warn("alias-error").uid(e.UID).peer(e.Peer).rejected(e.Alias).err(e.Err)
}

// IdentityShared reports that two running clients register under the same key in turns: a copied seed or an old instance
// that was not stopped. The scraper reports it, and each of the clients that it tells. One of them is scraped.
type IdentityShared struct {
	Alias Alias
	Key   PublicKey
}

func (e IdentityShared) LogRecord() LogRecord {
	return warn("identity-shared").alias(e.Alias).key("key", e.Key).text("hint", e.Hint())
}

// Hint says what to do.
func (IdentityShared) Hint() string {
	return "another running client has the same seed, and one of them is scraped; stop one, or give it a seed file and an alias of its own"
}

// SetAlias tells that the table has a new or changed entry.
type SetAlias struct{ Entry Entry }

func (e SetAlias) LogRecord() LogRecord { return info("set-alias").entry(e.Entry) }

// AliasExpired tells that an entry was dropped because nobody renewed it.
type AliasExpired struct{ Entry Entry }

func (e AliasExpired) LogRecord() LogRecord { return info("alias-expired").entry(e.Entry) }

// AliasForgotten tells that the operator dropped an entry.
type AliasForgotten struct{ Entry Entry }

func (e AliasForgotten) LogRecord() LogRecord { return info("alias-forgotten").entry(e.Entry) }

// AliasPinned tells that the operator tied an alias to a key.
type AliasPinned struct{ Pin Pin }

func (e AliasPinned) LogRecord() LogRecord { return info("alias-pinned").pin(e.Pin) }

// AliasUnpinned tells that the operator took a pin out.
type AliasUnpinned struct{ Pin Pin }

func (e AliasUnpinned) LogRecord() LogRecord { return info("alias-unpinned").pin(e.Pin) }

// ImportAliases tells what was taken over from another program's file at the first start.
type ImportAliases struct {
	Entries int
	Skipped []error
}

func (e ImportAliases) LogRecord() LogRecord {
	return info("import-aliases").count("entries", e.Entries).skipped(e.Skipped)
}

// ImportAliasesError tells that such a file could not be read.
type ImportAliasesError struct{ Err error }

func (e ImportAliasesError) LogRecord() LogRecord { return warn("import-aliases-error").err(e.Err) }

// SecretsChanged tells which secrets are valid from now on, by fingerprint.
type SecretsChanged struct{ Fingerprints []string }

func (e SecretsChanged) LogRecord() LogRecord {
	return info("secrets-changed").text("fingerprints", strings.Join(e.Fingerprints, " "))
}

// LoadAliases tells what was found in the store at start. Skipped entries were kept aside, not deleted.
type LoadAliases struct {
	Entries int
	Skipped []error
}

func (e LoadAliases) LogRecord() LogRecord {
	return info("load-aliases").count("entries", e.Entries).skipped(e.Skipped)
}

// LoadAliasesError tells that the store could not be read.
type LoadAliasesError struct{ Err error }

func (e LoadAliasesError) LogRecord() LogRecord { return failure("load-aliases-error").err(e.Err) }

// AliasesUpdated tells that the targets file was written.
type AliasesUpdated struct{ Entries int }

func (e AliasesUpdated) LogRecord() LogRecord {
	return info("aliases-updated").count("entries", e.Entries)
}

// WriteAliasesError tells that the store or the targets file could not be written.
type WriteAliasesError struct {
	What string // "store" or "targets file"
	Err  error
}

func (e WriteAliasesError) LogRecord() LogRecord {
	return failure("write-aliases-error").text("what", e.What).err(e.Err)
}

// StoreDamaged reports damage of the alias store that was repaired.
type StoreDamaged struct{ Damage StoreDamage }

func (e StoreDamaged) LogRecord() LogRecord {
	return failure("store-damaged").count("recovered", e.Damage.Recovered).text("kept", e.Damage.Kept).
		text("problems", strings.Join(e.Damage.Problems, "; "))
}

// UpstreamError tells why a scrape gave no metrics. UID is of the session's connection, zero without one.
type UpstreamError struct {
	UID   UID
	Alias Alias
	Key   PublicKey
	Err   error
}

func (e UpstreamError) LogRecord() LogRecord {
	return warn("upstream-error").uid(e.UID).alias(e.Alias).key("remote_key", e.Key).err(e.Err)
}

// NetworkLost tells that no DHT node answers, and what is known of why.
type NetworkLost struct {
	BootstrapNodes int              // tried
	Own            []netip.AddrPort // of their addresses that are this node's own
	NoIPv4         bool             // this machine has no IPv4 address
}

func (e NetworkLost) LogRecord() LogRecord {
	return warn("network-lost").text("err", e.Problem()).count("bootstrap_nodes_tried", e.BootstrapNodes).text("hint", e.Hint())
}

// Problem says what is wrong.
func (e NetworkLost) Problem() string {
	nodes := "bootstrap nodes"
	if e.BootstrapNodes == 1 {
		nodes = "bootstrap node"
	}
	return fmt.Sprintf("no DHT node answers, %d %s tried", e.BootstrapNodes, nodes)
}

// Hint says what to do about it.
func (e NetworkLost) Hint() string {
	switch {
	case e.NoIPv4:
		return "this machine has no IPv4 address but loopback, and HyperDHT needs one"
	case len(e.Own) > 0:
		return fmt.Sprintf("the bootstrap address %v is this node's own; name another node, or give that port to dhtprom-scraper bootstrap", e.Own[0])
	}
	return "check that UDP is let out and that the bootstrap nodes run; doctor looks at each step"
}

// NetworkFound tells that DHT nodes answer, after none did.
type NetworkFound struct{ Nodes int }

func (e NetworkFound) LogRecord() LogRecord { return info("network-found").count("nodes", e.Nodes) }

// SessionState is where the scraper's session with one client is.
type SessionState uint8

// The states; package app draws the machine.
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

// MarshalText makes JSON carry the name.
func (s SessionState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// SessionWait tells that a session has no connection and when it dials again.
type SessionWait struct {
	Key     PublicKey
	Err     error
	RetryIn time.Duration
}

func (e SessionWait) LogRecord() LogRecord {
	return debug("session-wait").key("remote_key", e.Key).err(e.Err).duration("retry_in", e.RetryIn)
}
