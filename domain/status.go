package domain

import (
	"errors"
	"time"
)

// Reasons of failed scrapes and rejected registrations: fixed sets, because they become label values.
const (
	ReasonStarting     = "starting" // the alias table is not loaded yet
	ReasonUnknownAlias = "unknown_alias"
	ReasonNotConnected = "not_connected"
	ReasonTimeout      = "timeout"
	ReasonRemote       = "remote_error" // reported by a client of an older version, which does not say whose fault it is
	ReasonExporter     = "exporter"     // could not be reached, broke off, or answered with another status than 200
	ReasonClient       = "client"
	ReasonRequest      = "request" // asks for what the target does not allow
	ReasonConnection   = "connection"
	ReasonClosed       = "closed"
	ReasonCanceled     = "canceled"

	ReasonUnauthorised = "unauthorised"
	ReasonBadName      = "bad_name"
	ReasonTableFull    = "table_full"
	ReasonRateLimit    = "rate_limit"
	ReasonOverloaded   = "overloaded"
	ReasonNoProof      = "no_proof"
	ReasonPinned       = "pinned"
	ReasonNotAllowed   = "not_allowed" // by the patterns of the identity
	ReasonIdentity     = "identity"    // the alias belongs to another one
	ReasonStore        = "store"
)

// The limits on connections to the registration service: label values, too.
const (
	LimitTotal           = "total"           // all connections
	LimitUnauthenticated = "unauthenticated" // those without a valid secret so far
	LimitKey             = "key"             // of one key
	LimitAddress         = "address"         // of one address, beyond its share
	LimitRefusals        = "refusals"        // too many wrong requests from one address
)

// Limits lists the limits.
func Limits() []string {
	return []string{LimitAddress, LimitKey, LimitRefusals, LimitTotal, LimitUnauthenticated}
}

// FailureReasons lists the reasons of failed scrapes, so that a counter can exist before its first event.
func FailureReasons() []string {
	return []string{
		ReasonCanceled, ReasonClient, ReasonClosed, ReasonConnection, ReasonExporter, ReasonNotConnected, ReasonRemote, ReasonRequest,
		ReasonStarting, ReasonTimeout, ReasonUnknownAlias,
	}
}

// RejectionReasons lists the reasons of rejected registrations.
func RejectionReasons() []string {
	return []string{
		ReasonBadName, ReasonIdentity, ReasonNoProof, ReasonNotAllowed, ReasonOverloaded, ReasonPinned, ReasonRateLimit, ReasonStore, ReasonTableFull, ReasonUnauthorised,
	}
}

// FailureReason returns the reason of a failed scrape.
func FailureReason(err error) string {
	_, remote := errors.AsType[*RemoteError](err)
	_, status := errors.AsType[*StatusError](err)
	reported, _ := errors.AsType[*ScrapeError](err)
	switch {
	case remote:
		return ReasonRemote
	case status:
		return ReasonExporter
	case reported != nil && reported.Fault != FaultTime:
		return [...]string{FaultClient: ReasonClient, FaultExporter: ReasonExporter, FaultRequest: ReasonRequest}[reported.Fault]
	case errors.Is(err, ErrNotLoaded):
		return ReasonStarting
	case errors.Is(err, ErrUnknownAlias):
		return ReasonUnknownAlias
	case errors.Is(err, ErrNotConnected):
		return ReasonNotConnected
	case errors.Is(err, ErrTimeout):
		return ReasonTimeout
	case errors.Is(err, ErrClosed):
		return ReasonClosed
	default:
		return ReasonConnection
	}
}

// IdentityStatus is an Identity without its secrets, and what its clients did since the start.
type IdentityStatus struct {
	Name          string
	Fingerprints  []string // of the secrets
	Patterns      []AliasPattern
	Labels        Labels
	Aliases       int // in the table now
	Registrations uint64
	Rejected      uint64 // registrations, and targets of sets
}

// GroupStats counts what a member of a group passes on to others since its start.
type GroupStats struct {
	PassedOn  uint64 // scrapes passed on to another member
	TakenBack uint64 // those of them that went to the client from here, as the other member did not answer
}

// ScraperStats counts a scraper's events since its start.
type ScraperStats struct {
	Scrapes           uint64
	ScrapesFailed     map[string]uint64 // by reason
	Group             GroupStats
	Registrations     uint64            // durable ones
	Rejected          map[string]uint64 // registrations, by reason
	Takeovers         uint64            // aliases that changed their key
	SharedIdentities  uint64            // registrations that revealed two running clients with one key
	Expired           uint64            // aliases that were not renewed
	Left              uint64            // aliases that said goodbye
	Dials             uint64            // connections to clients tried
	Paths             DialStats         // their results
	StoreFailures     uint64
	StoreDamages      uint64 // damage of the alias store that was found and repaired
	TargetsFailures   uint64
	Forgotten         uint64            // aliases that the operator removed
	Aliases           int               // in the table now
	AliasConnections  int               // to the registration service, open now
	ConnectionsDenied map[string]uint64 // by the limits of the registration service
	// Limits of the configuration and the program, so that alerts need not know them.
	MaxAliases          int
	MaxAliasConnections int
}

// AliasStatus is a scraper's state of an alias.
type AliasStatus struct {
	Entry
	Session   SessionState
	Peer      Peer      // while the session is open
	SessionUp bool      // Peer, Link and Version are valid
	Link      LinkStats // of its connection
	Version   string    // of the client's program; empty if it has not reported one
	Why       error     // reason for having no connection, nil while there is one
	Scrape    Scrape    // the last one
	Pinned    bool      // the operator pinned it
	Since     time.Time // start of the open session; zero without one
	Overdue   bool      // expired: not renewed in time; it will be removed at the next check
	Shared    bool      // two running clients registered it under one key recently
	Holder    string    // name of the member of the group that holds the connection; empty for this scraper
}

// AliasDetail is an alias with its history.
type AliasDetail struct {
	AliasStatus
	Pin     Pin             // zero without one; its key differs from the alias's if that was registered before
	History []SessionChange // of the session, oldest first
	Scrapes []Scrape        // the last ones, oldest first

	Timeline []TimelineEntry // of the last hours, oldest first; steps in which nothing happened are left out
	Paths    []PathSpan      // of the session, oldest first
	Detour   Detour          // of the session's connection
}

// Scrape is the result of an alias's last scrape; the zero value before the first.
type Scrape struct {
	At      time.Time
	Took    time.Duration
	Bytes   int
	Err     error
	Success time.Time // of the last successful one
}
