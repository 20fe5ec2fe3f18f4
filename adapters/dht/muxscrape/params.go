package muxscrape

import "github.com/dhtprom/dhtprom/ports"

// Protocol is the name of the channel.
const Protocol = "dhtprom-scrape"

// The types of messages. The requester sends the first group, the responder the second.
const (
	typeRequest = 0
	typeWindow  = 1
	typeCancel  = 2

	typeResponse = 3
	typeData     = 4
	typeEnd      = 5
)

const (
	// MaxPiece bounds the bytes of a body in one message.
	MaxPiece = 16 << 10

	// MaxRunning bounds the concurrent requests on a channel: a site of 5,000 targets that are scraped every 15 s and take 3 s each.
	MaxRunning = 1024

	// maxUnread bounds the messages, besides pieces of bodies, that wait for a requester that does not read.
	maxUnread = 4 * MaxRunning

	// maxUnsent bounds the bodies on a channel that are complete and not sent, in bytes: 128 that are as long as a source may send ahead.
	maxUnsent = 8 << 20

	// Limits on the texts of a request and a response, in bytes.
	maxTarget      = 1024
	maxQuery       = 8 << 10
	maxFields      = 64
	maxFieldName   = 128
	maxFieldValue  = 8 << 10
	maxFieldsTotal = 32 << 10
	maxType        = 1024
	maxCoding      = 64
	maxReason      = 1024
	maxVersion     = 32 // printable ASCII

	// MinWindow and MaxWindow bound the credit of a request, in bytes. It begins with firstWindow where the process has room, and
	// doubles while the reader keeps up.
	MinWindow   = ports.Piece
	firstWindow = ports.FirstWindow
	MaxWindow   = 1 << 20
	// MaxWindows bounds the credit of all requests of a process, in bytes.
	MaxWindows = 16 << 20

	// MaxStart bounds the credit of all requests of a process up to which a body gets a startShare of the rest at its begin, in bytes: the
	// receive buffer of a busy socket holds as much, where many bodies begin at a time.
	MaxStart   = 4 << 20
	startShare = 4

	// maxCredit is the credit above which a responder counts no further.
	maxCredit = 1 << 40

	// queueSize is the amount of a response that may wait for credit and for the connection before Write reports that the queue is full,
	// in bytes: two pieces, so that the next one is ready when the first is sent.
	queueSize = 2 * ports.Piece
)
