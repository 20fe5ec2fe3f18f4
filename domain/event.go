package domain

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"
)

// Event is something worth telling: a typed value with the facts of its JavaScript twin and often more. Name is
// the twin's name where there is one. Attrs are the facts for a log line; no event carries a secret.
type Event interface {
	Name() string
	Level() slog.Level
	Attrs() []slog.Attr
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

// ConnectionClose tells that a connection is gone. It comes exactly once for each ConnectionOpen.
type ConnectionClose struct {
	UID  UID
	Side Side
	Peer Peer
}

// ConnectionError tells why a connection broke. Such errors are expected on the internet.
type ConnectionError struct {
	UID  UID
	Side Side
	Peer Peer
	Err  error
}

// ConnectionIgnore tells of a connection that the scraper's sessions do not use: it brings registrations, or its
// session has ended meanwhile. Only useful for debugging.
type ConnectionIgnore struct {
	UID  UID
	Peer Peer
}

// FirewallBlock tells that someone else than a scraper of ours tried to connect to the metrics server.
type FirewallBlock struct {
	RemoteKey PublicKey
	Payload   HandshakePayload
	Addr      netip.AddrPort
}

// AliasAttempt tells that a registration starts. The uid names the attempt.
type AliasAttempt struct {
	UID      UID
	Scraper  PublicKey
	Register Register
}

// RegisterAliasSuccess tells that the scraper has the alias; Updated, whether it learned something new.
type RegisterAliasSuccess struct {
	UID     UID
	Scraper PublicKey
	Alias   Alias
	Updated bool
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

// LeaveAliasError tells that a client stops and its goodbye has not arrived: the scraper keeps the alias until it expires,
// and scrapes of it fail.
type LeaveAliasError struct {
	Scraper PublicKey
	Alias   Alias
	Err     error
}

// MetricsRequest tells that the scraper asked for metrics.
type MetricsRequest struct {
	UID  UID
	Peer Peer
}

// MetricsSuccess tells that metrics were sent.
type MetricsSuccess struct {
	UID   UID
	Peer  Peer
	Bytes int
	Took  time.Duration
}

// MetricsError carries the full reason why there were no metrics. The scraper learns the uid only.
type MetricsError struct {
	UID  UID
	Peer Peer
	Err  error
}

// AliasRequest tells that somebody who knows the secret asks to register.
type AliasRequest struct {
	UID      UID
	Peer     Peer
	Register Register
}

// AliasSuccess tells that a registration is durable. TakenFrom is the key that lost the alias, zero mostly.
type AliasSuccess struct {
	UID       UID
	Peer      Peer
	Register  Register
	Updated   bool
	TakenFrom PublicKey
}

// AliasUnauthorised tells of a registration with a wrong secret. Nothing in it was checked.
type AliasUnauthorised struct {
	UID      UID
	Peer     Peer
	Register Register
}

// AliasError tells that an authorised registration failed.
type AliasError struct {
	UID   UID
	Peer  Peer
	Alias Alias
	Err   error
}

// IdentityShared reports that two running clients register under the same key in turns: a copied seed or an old instance
// that was not stopped. The scraper reports it, and each of the clients that it tells. One of them is scraped.
type IdentityShared struct {
	Alias Alias
	Key   PublicKey
}

// SetAlias tells that the table has a new or changed entry.
type SetAlias struct{ Entry Entry }

// AliasExpired tells that an entry was dropped because nobody renewed it.
type AliasExpired struct{ Entry Entry }

// AliasForgotten tells that the operator dropped an entry.
type AliasForgotten struct{ Entry Entry }

// AliasPinned tells that the operator tied an alias to a key.
type AliasPinned struct{ Pin Pin }

// AliasUnpinned tells that the operator took a pin out.
type AliasUnpinned struct{ Pin Pin }

// ImportAliases tells what was taken over from another program's file at the first start.
type ImportAliases struct {
	Entries int
	Skipped []error
}

// ImportAliasesError tells that such a file could not be read.
type ImportAliasesError struct{ Err error }

// SecretsChanged tells which secrets are valid from now on, by fingerprint.
type SecretsChanged struct{ Fingerprints []string }

// LoadAliases tells what was found in the store at start. Skipped entries were kept aside, not deleted.
type LoadAliases struct {
	Entries int
	Skipped []error
}

// LoadAliasesError tells that the store could not be read.
type LoadAliasesError struct{ Err error }

// AliasesUpdated tells that the targets file was written.
type AliasesUpdated struct{ Entries int }

// WriteAliasesError tells that the store or the targets file could not be written.
type WriteAliasesError struct {
	What string // "store" or "targets file"
	Err  error
}

// StoreDamaged reports damage of the alias store that was repaired.
type StoreDamaged struct{ Damage StoreDamage }

// UpstreamError tells why a scrape gave no metrics. UID is of the session's connection, zero without one.
type UpstreamError struct {
	UID   UID
	Alias Alias
	Key   PublicKey
	Err   error
}

// NetworkLost tells that no DHT node answers, and what is known of why.
type NetworkLost struct {
	BootstrapNodes int              // tried
	Own            []netip.AddrPort // of their addresses that are this node's own
	NoIPv4         bool             // this machine has no IPv4 address
}

// NetworkFound tells that DHT nodes answer, after none did.
type NetworkFound struct{ Nodes int }

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

func (ConnectionOpen) Name() string       { return "connection-open" }
func (ConnectionClose) Name() string      { return "connection-close" }
func (ConnectionError) Name() string      { return "connection-error" }
func (ConnectionIgnore) Name() string     { return "connection-ignore" }
func (FirewallBlock) Name() string        { return "firewall-block" }
func (AliasAttempt) Name() string         { return "alias-attempt" }
func (RegisterAliasSuccess) Name() string { return "register-alias-success" }
func (RegisterAliasError) Name() string   { return "register-alias-error" }
func (LeaveAliasError) Name() string      { return "leave-alias-error" }
func (MetricsRequest) Name() string       { return "metrics-request" }
func (MetricsSuccess) Name() string       { return "metrics-success" }
func (MetricsError) Name() string         { return "metrics-error" }
func (AliasRequest) Name() string         { return "alias-request" }
func (AliasSuccess) Name() string         { return "alias-success" }
func (AliasUnauthorised) Name() string    { return "alias-unauthorised" }
func (AliasError) Name() string           { return "alias-error" }
func (IdentityShared) Name() string       { return "identity-shared" }
func (SetAlias) Name() string             { return "set-alias" }
func (AliasExpired) Name() string         { return "alias-expired" }
func (AliasForgotten) Name() string       { return "alias-forgotten" }
func (AliasPinned) Name() string          { return "alias-pinned" }
func (AliasUnpinned) Name() string        { return "alias-unpinned" }
func (ImportAliases) Name() string        { return "import-aliases" }
func (ImportAliasesError) Name() string   { return "import-aliases-error" }
func (SecretsChanged) Name() string       { return "secrets-changed" }
func (LoadAliases) Name() string          { return "load-aliases" }
func (LoadAliasesError) Name() string     { return "load-aliases-error" }
func (AliasesUpdated) Name() string       { return "aliases-updated" }
func (WriteAliasesError) Name() string    { return "write-aliases-error" }
func (StoreDamaged) Name() string         { return "store-damaged" }
func (UpstreamError) Name() string        { return "upstream-error" }
func (NetworkLost) Name() string          { return "network-lost" }
func (NetworkFound) Name() string         { return "network-found" }
func (SessionWait) Name() string          { return "session-wait" }

// The levels are those of the JavaScript packages (registerLogger of index.js in both, run.js of the bridge), but for
// failures that somebody should look into: the packages log these as info, where a log of warnings misses them.

func (ConnectionOpen) Level() slog.Level       { return slog.LevelInfo }
func (ConnectionClose) Level() slog.Level      { return slog.LevelInfo }
func (ConnectionError) Level() slog.Level      { return slog.LevelInfo }
func (ConnectionIgnore) Level() slog.Level     { return slog.LevelDebug }
func (FirewallBlock) Level() slog.Level        { return slog.LevelInfo }
func (AliasAttempt) Level() slog.Level         { return slog.LevelInfo }
func (RegisterAliasSuccess) Level() slog.Level { return slog.LevelInfo }
func (RegisterAliasError) Level() slog.Level   { return slog.LevelWarn }
func (LeaveAliasError) Level() slog.Level      { return slog.LevelWarn }
func (MetricsRequest) Level() slog.Level       { return slog.LevelDebug }
func (MetricsSuccess) Level() slog.Level       { return slog.LevelDebug }
func (MetricsError) Level() slog.Level         { return slog.LevelWarn }
func (AliasRequest) Level() slog.Level         { return slog.LevelInfo }
func (AliasSuccess) Level() slog.Level         { return slog.LevelInfo }
func (AliasUnauthorised) Level() slog.Level    { return slog.LevelWarn }
func (AliasError) Level() slog.Level           { return slog.LevelWarn }
func (IdentityShared) Level() slog.Level       { return slog.LevelWarn }
func (SetAlias) Level() slog.Level             { return slog.LevelInfo }
func (AliasExpired) Level() slog.Level         { return slog.LevelInfo }
func (AliasForgotten) Level() slog.Level       { return slog.LevelInfo }
func (AliasPinned) Level() slog.Level          { return slog.LevelInfo }
func (AliasUnpinned) Level() slog.Level        { return slog.LevelInfo }
func (ImportAliasesError) Level() slog.Level   { return slog.LevelWarn }
func (SecretsChanged) Level() slog.Level       { return slog.LevelInfo }
func (LoadAliasesError) Level() slog.Level     { return slog.LevelError }
func (AliasesUpdated) Level() slog.Level       { return slog.LevelInfo }
func (WriteAliasesError) Level() slog.Level    { return slog.LevelError }
func (StoreDamaged) Level() slog.Level         { return slog.LevelError }
func (UpstreamError) Level() slog.Level        { return slog.LevelWarn }
func (NetworkLost) Level() slog.Level          { return slog.LevelWarn }
func (NetworkFound) Level() slog.Level         { return slog.LevelInfo }
func (SessionWait) Level() slog.Level          { return slog.LevelDebug }

// Level is a warning when something was skipped: the operator should know that entries are missing.
func (e LoadAliases) Level() slog.Level { return levelOf(e.Skipped) }

// Level is a warning when something was skipped.
func (e ImportAliases) Level() slog.Level { return levelOf(e.Skipped) }

func levelOf(skipped []error) slog.Level {
	if len(skipped) > 0 {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

func peerAttrs(uid UID, side Side, p Peer, more ...slog.Attr) []slog.Attr {
	attrs := make([]slog.Attr, 0, 5+len(more))
	attrs = append(attrs, slog.String("uid", uid.String()))
	if side != "" {
		attrs = append(attrs, slog.String("side", string(side)))
	}
	attrs = append(attrs, slog.String("remote_key", p.Key.String()))
	if p.Addr.IsValid() {
		attrs = append(attrs, slog.String("remote_address", p.Addr.String()))
	}
	return append(attrs, more...)
}

// readable rounds a duration to three digits or less.
func readable(d time.Duration) time.Duration {
	unit := time.Nanosecond
	for d >= 1000*unit {
		unit *= 10
	}
	return d.Round(unit)
}

func errAttr(err error) slog.Attr { return slog.Any("err", err) }

func registerAttrs(r Register) []slog.Attr {
	return []slog.Attr{
		slog.String("alias", string(r.Alias)), slog.String("target_key", r.Key.String()),
		slog.String("hostname", r.Hostname), slog.String("service", r.Service),
	}
}

func entryAttrs(e Entry) []slog.Attr {
	attrs := registerAttrs(Register{Alias: e.Alias, Key: e.Key, Hostname: e.Hostname, Service: e.Service})
	return append(attrs, slog.Time("expires", e.Expires))
}

func (e ConnectionOpen) Attrs() []slog.Attr {
	return peerAttrs(e.UID, e.Side, e.Peer, slog.String("path", e.Peer.Path.String()))
}
func (e ConnectionClose) Attrs() []slog.Attr  { return peerAttrs(e.UID, e.Side, e.Peer) }
func (e ConnectionError) Attrs() []slog.Attr  { return peerAttrs(e.UID, e.Side, e.Peer, errAttr(e.Err)) }
func (e ConnectionIgnore) Attrs() []slog.Attr { return peerAttrs(e.UID, "", e.Peer) }
func (e FirewallBlock) Attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("remote_key", e.RemoteKey.String()), slog.String("remote_address", e.Addr.String()),
	}
}
func (e AliasAttempt) Attrs() []slog.Attr {
	return append([]slog.Attr{slog.String("uid", e.UID.String()), slog.String("scraper", e.Scraper.String())},
		registerAttrs(e.Register)...)
}
func (e RegisterAliasSuccess) Attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("uid", e.UID.String()), slog.String("scraper", e.Scraper.String()),
		slog.String("alias", string(e.Alias)), slog.Bool("updated", e.Updated),
	}
}
func (e RegisterAliasError) Attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("uid", e.UID.String()), slog.String("scraper", e.Scraper.String()),
		slog.String("alias", string(e.Alias)), errAttr(e.Err), slog.Duration("retry_in", readable(e.RetryIn)),
	}
}
func (e LeaveAliasError) Attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("scraper", e.Scraper.String()), slog.String("alias", string(e.Alias)), errAttr(e.Err),
		slog.String("effect", "the scraper lists the alias until it expires"),
	}
}
func (e MetricsRequest) Attrs() []slog.Attr { return peerAttrs(e.UID, "", e.Peer) }
func (e MetricsSuccess) Attrs() []slog.Attr {
	return peerAttrs(e.UID, "", e.Peer, slog.Int("bytes", e.Bytes), slog.Duration("took", readable(e.Took)))
}
func (e MetricsError) Attrs() []slog.Attr { return peerAttrs(e.UID, "", e.Peer, errAttr(e.Err)) }
func (e AliasRequest) Attrs() []slog.Attr {
	return peerAttrs(e.UID, "", e.Peer, registerAttrs(e.Register)...)
}
func (e AliasSuccess) Attrs() []slog.Attr {
	attrs := peerAttrs(e.UID, "", e.Peer, registerAttrs(e.Register)...)
	attrs = append(attrs, slog.Bool("updated", e.Updated))
	if !e.TakenFrom.IsZero() {
		attrs = append(attrs, slog.String("taken_from", e.TakenFrom.String()))
	}
	return attrs
}
func (e AliasUnauthorised) Attrs() []slog.Attr {
	// Hostname and service are left out: nobody vouches for them, and the alias says enough.
	return peerAttrs(e.UID, "", e.Peer,
		slog.String("alias", clip(string(e.Register.Alias), MaxAlias)), slog.String("target_key", e.Register.Key.String()))
}
func (e AliasError) Attrs() []slog.Attr {
	return peerAttrs(e.UID, "", e.Peer, slog.String("alias", clip(string(e.Alias), MaxAlias)), errAttr(e.Err))
}
func (e IdentityShared) Attrs() []slog.Attr {
	return []slog.Attr{slog.String("alias", string(e.Alias)), slog.Any("key", e.Key), slog.String("hint", e.Hint())}
}

// Hint says what to do.
func (IdentityShared) Hint() string {
	return "another running client has the same seed, and one of them is scraped; stop one, or give it a seed file and an alias of its own"
}
func (e SetAlias) Attrs() []slog.Attr           { return entryAttrs(e.Entry) }
func (e AliasExpired) Attrs() []slog.Attr       { return entryAttrs(e.Entry) }
func (e AliasForgotten) Attrs() []slog.Attr     { return entryAttrs(e.Entry) }
func (e AliasPinned) Attrs() []slog.Attr        { return pinAttrs(e.Pin) }
func (e AliasUnpinned) Attrs() []slog.Attr      { return pinAttrs(e.Pin) }
func (e ImportAliasesError) Attrs() []slog.Attr { return []slog.Attr{errAttr(e.Err)} }
func (e SecretsChanged) Attrs() []slog.Attr {
	return []slog.Attr{slog.String("fingerprints", strings.Join(e.Fingerprints, " "))}
}

func (e StoreDamaged) Attrs() []slog.Attr {
	return []slog.Attr{
		slog.Int("recovered", e.Damage.Recovered), slog.String("kept", e.Damage.Kept), slog.String("problems", strings.Join(e.Damage.Problems, "; ")),
	}
}

func pinAttrs(p Pin) []slog.Attr {
	return []slog.Attr{slog.String("alias", string(p.Alias)), slog.String("target_key", p.Key.String())}
}

func (e LoadAliases) Attrs() []slog.Attr   { return loadAttrs(e.Entries, e.Skipped) }
func (e ImportAliases) Attrs() []slog.Attr { return loadAttrs(e.Entries, e.Skipped) }

func loadAttrs(entries int, skipped []error) []slog.Attr {
	attrs := []slog.Attr{slog.Int("entries", entries)}
	if n := len(skipped); n > 0 {
		attrs = append(attrs, slog.Int("skipped", n), errAttr(skipped[0]))
	}
	return attrs
}
func (e LoadAliasesError) Attrs() []slog.Attr { return []slog.Attr{errAttr(e.Err)} }
func (e AliasesUpdated) Attrs() []slog.Attr   { return []slog.Attr{slog.Int("entries", e.Entries)} }
func (e WriteAliasesError) Attrs() []slog.Attr {
	return []slog.Attr{slog.String("what", e.What), errAttr(e.Err)}
}
func (e UpstreamError) Attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("uid", e.UID.String()), slog.String("alias", string(e.Alias)),
		slog.String("remote_key", e.Key.String()), errAttr(e.Err),
	}
}
func (e NetworkLost) Attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("err", e.Problem()), slog.Int("bootstrap_nodes_tried", e.BootstrapNodes), slog.String("hint", e.Hint()),
	}
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

func (e NetworkFound) Attrs() []slog.Attr { return []slog.Attr{slog.Int("nodes", e.Nodes)} }

func (e SessionWait) Attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("remote_key", e.Key.String()), errAttr(e.Err), slog.Duration("retry_in", readable(e.RetryIn)),
	}
}

// clip bounds text from the network that was refused for its length.
func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}
