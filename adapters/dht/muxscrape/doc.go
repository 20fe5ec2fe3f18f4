// Package muxscrape carries scrapes over a channel of a mux: requests with what an HTTP scrape asks for, responses with status, type
// and a streamed body. Many may be under way, each can be cancelled, and each has a credit of its own, so that no slow reader and no
// slow exporter holds up the others on the connection.
//
// One side, the scraper, is the Requester; the other, the client, is the Responder. spec/dhtprom.md describes the messages to the byte.
//
//	Requester                                   Responder
//	Scrape    ── request: id, credit, … ──────▶ OnRequest
//	OnHead    ◀── response: id, status, type ── Response.Head
//	OnData    ◀── data: id, at most 16 kB ───── Response.Write     while there is credit
//	Consumed  ── window: id, bytes ───────────▶ OnDrain
//	OnEnd     ◀── end: id, code, reason ─────── Response.End
//	Cancel    ── cancel: id ──────────────────▶ the function that OnRequest returned
//
// # Order
//
// Responses share the connection: the first piece of each goes before any second one, so that a small answer does not wait for a large
// one, and further pieces go round-robin. A piece is sent only while the connection welcomes more.
//
// # Calls and callbacks
//
// Everything runs on the loop of the connection. Callbacks run while the pipe delivers something, or drains, and inside the methods
// that are documented to. Nothing here has a deadline: requests carry the time that is left, and both sides cancel what is overdue.
package muxscrape
