package stream

import (
	"net/netip"
	"strconv"
)

// Connected: a stream got its remote.
type Connected struct {
	ID, RemoteID uint32
	To           netip.AddrPort
}

// Moved: a stream changed its remote.
type Moved struct {
	ID, RemoteID uint32
	To           netip.AddrPort
}

// Closed: a stream is over; Err is nil if both directions ended.
type Closed struct {
	ID  uint32
	Err error
}

// AppendText writes the event for logs and transcripts.
func (e Connected) AppendText(b []byte) ([]byte, error) {
	return appendRemote(append(b, "stream connected"...), e.ID, e.RemoteID, e.To), nil
}

// AppendText writes the event for logs and transcripts.
func (e Moved) AppendText(b []byte) ([]byte, error) {
	return appendRemote(append(b, "stream moved"...), e.ID, e.RemoteID, e.To), nil
}

// AppendText writes the event for logs and transcripts.
func (e Closed) AppendText(b []byte) ([]byte, error) {
	b = appendID(append(b, "stream closed id="...), e.ID)
	if e.Err != nil {
		b = append(append(b, " error="...), strconv.Quote(e.Err.Error())...)
	}
	return b, nil
}

func appendRemote(b []byte, id, remote uint32, to netip.AddrPort) []byte {
	b = appendID(append(b, " id="...), id)
	b = appendID(append(b, " remote="...), remote)
	return to.AppendTo(append(b, " to="...))
}

func appendID(b []byte, id uint32) []byte { return strconv.AppendUint(b, uint64(id), 16) }
