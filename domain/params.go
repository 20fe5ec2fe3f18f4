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
	// DefaultRegisterInterval is how often a client registers again.
	DefaultRegisterInterval = time.Hour
	// DefaultExpiry is how long an entry lives without being registered again.
	DefaultExpiry = 3 * time.Hour
	// DefaultExpiryCheckInterval is how often the scraper looks for expired entries.
	DefaultExpiryCheckInterval = time.Hour
	// DefaultRequestTimeout bounds every wait of one metrics request.
	DefaultRequestTimeout = 5 * time.Second
)

// Our choice.
const (
	// MaxBody is the largest metrics body in bytes that is sent. It leaves 64 bytes of a frame for the headers
	// around the body, which take 20 at most; one byte more than the frame carries would cost the connection.
	MaxBody = maxPlainFrame - 64

	// Limits on names from the network, in bytes. 255 is the longest DNS name; Kubernetes pod names reach 253.
	MaxAlias    = 128
	MaxHostname = 255
	MaxService  = 128

	// MaxEntries is the default limit on the number of aliases. At 5,000 aliases a scraper is already large.
	MaxEntries = 10_000

	// What is kept to be looked at: lines of a session's history, scrapes of an alias, refused registrations. At 10,000
	// aliases it is a few megabytes.
	historyLines    = 16
	historyScrapes  = 12
	historyRefusals = 32

	// MaxDamages is how many reports of a damaged store are kept to be looked at: one is a reason to replace the disk.
	MaxDamages = 8

	// Waits between attempts grow from RetryMin to RetryMax: a scraper that was down for seconds is back in
	// seconds, and one that is down for long costs its clients one attempt a minute.
	RetryMin = time.Second
	RetryMax = time.Minute
)
