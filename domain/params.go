package domain

import "time"

// Fixed by the protocol.
const (
	// KeySize is the size in bytes of public keys, seeds and secrets.
	KeySize = 32

	// maxPlainFrame is the most plain text one frame of the encrypted stream carries: a 24-bit length less
	// the 17 bytes that the secretstream adds (@hyperswarm/secret-stream index.js).
	maxPlainFrame = 1<<24 - 1 - 17
)

// Defaults of dht-prom-client 1.1.1 and its bridge.
const (
	// DefaultRegisterInterval is the interval of a client's registrations.
	DefaultRegisterInterval = time.Hour
	// DefaultExpiry is the lifetime of an entry without a new registration.
	DefaultExpiry = 3 * time.Hour
	// DefaultExpiryCheckInterval is the interval of a scraper's checks for expired entries.
	DefaultExpiryCheckInterval = time.Hour
	// DefaultRequestTimeout bounds every wait of one metrics request.
	DefaultRequestTimeout = 5 * time.Second
)

// Our choice.
const (
	// MaxBody is the largest metrics body in bytes that is sent. It leaves 64 bytes of a frame for the headers around the body,
	// which take 20 at most; one byte more than the frame carries would end the connection.
	MaxBody = maxPlainFrame - 64

	// Limits on names from the network, in bytes. 255 is the longest DNS name; Kubernetes pod names reach 253.
	MaxAlias    = 128
	MaxHostname = 255
	MaxService  = 128

	// Limits on a target's labels, in bytes but the first. Prometheus sets none by default; a scraper stores the labels of all
	// targets and lists them in each answer of service discovery: 10,000 targets with 200 bytes each are 2 MB.
	MaxLabels     = 32
	MaxLabelName  = 128
	MaxLabelValue = 1024
	MaxLabelsSize = 8 << 10 // names and values together

	// MaxTargets bounds the targets behind one client.
	MaxTargets = 5000
	// MaxFields bounds the header fields of a caller that a target asks for, and MaxFieldName the name of one in bytes.
	MaxFields    = 32
	MaxFieldName = 64

	// MaxEntries is the default limit on the number of aliases: ten clients with as many targets as they can have.
	MaxEntries = 50_000

	// Sizes of the histories shown to operators: changes of a session, changes of its path, scrapes of an alias, rejected registrations.
	// At 10,000 aliases that are scraped, they and the timelines are twenty megabytes.
	historyLines    = 16
	historyPaths    = 32
	historyScrapes  = 12
	historyRefusals = 32

	// MaxDamages is the number of reports of a damaged store that are kept: one is a reason to replace the disk.
	MaxDamages = 8

	// Waits between attempts grow from RetryMin to RetryMax: clients reconnect to a scraper that was down for seconds within
	// seconds, and one that is down for long costs them one attempt a minute.
	RetryMin = time.Second
	RetryMax = time.Minute
)
