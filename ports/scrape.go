package ports

import "github.com/dhtprom/dhtprom/domain"

// MetricsSource answers scrapes: an exporter beside a client, and the client itself for the scraper that is connected to it.
type MetricsSource interface {
	// Scrape requests metrics. It returns at once; the handlers are called in later turns.
	Scrape(r domain.ScrapeRequest, h ScrapeHandlers) Scrape
}

// ScrapeHandlers receive a response: OnHead once, OnData any number of times, OnEnd once. A scrape that fails before its head has OnEnd
// only.
type ScrapeHandlers struct {
	OnHead func(domain.ScrapeHead)
	// OnData receives the next piece of the body, at most MaxPiece bytes, borrowed for the call. Scrape.Consumed asks for more.
	OnData func([]byte)
	// OnEnd receives nil at the end of a complete body, otherwise the reason why it is not complete.
	OnEnd func(error)
}

// Scrape is a request under way.
type Scrape interface {
	// Consumed reports that n bytes that OnData has received were passed on. A source sends no more than MaxWindow bytes beyond
	// those.
	Consumed(n int)
	// Cancel ends the scrape: no handler is called any more. Cancelling an ended one does nothing.
	Cancel()
}

const (
	// MaxPiece bounds one piece of a body, in bytes.
	MaxPiece = 16 << 10
	// Piece is the number of bytes in the pieces that a source should send: with the three before it, the message of a piece has a length
	// that is encrypted in one pass.
	Piece = MaxPiece - 3
	// FirstWindow bounds what a source sends before the first byte is consumed, in bytes.
	FirstWindow = 4 * Piece
	// MaxWindow bounds what a source sends and its requester has not consumed, in bytes.
	MaxWindow = 1 << 20
)
