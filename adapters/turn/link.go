package turn

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/pipe"
)

// link carries frames to a server and back.
type link interface {
	// send sends frames, each with its end in b.
	send(b []byte, ends []int)
	// congested reports whether datagrams should be dropped.
	congested() bool
	// stream reports whether frames arrive in order, if they do.
	stream() bool
	// remote returns the address of the server, or that of the proxy before it.
	remote() netip.Addr
	close()
}

// linkHandlers receive from a link.
type linkHandlers struct {
	open    func(link)
	receive func(frame []byte)
	fail    func(error)
}

// pipeLink carries frames over a pipe.
type pipeLink struct {
	pipe   pipe.Pipe
	frames frames
}

// dialPipe opens a pipe to a server.
func dialPipe(d pipe.Dialer, h linkHandlers) (cancel func()) {
	return d.Dial(func(p pipe.Pipe, err error) {
		if err != nil {
			h.fail(err)
			return
		}
		l := &pipeLink{pipe: p}
		p.Handle(pipe.Handlers{
			OnReceive: func(b []byte) {
				if err := l.frames.feed(b, h.receive); err != nil {
					h.fail(err)
				}
			},
			OnClose: func(err error) {
				if err == nil {
					err = errHungUp
				}
				h.fail(err)
			},
		})
		h.open(l)
	})
}

func (l *pipeLink) send(b []byte, _ []int) { l.pipe.Write(b) }
func (l *pipeLink) congested() bool        { return l.pipe.Buffered() > maxBuffered }
func (l *pipeLink) stream() bool           { return true }
func (l *pipeLink) remote() netip.Addr     { return l.pipe.RemoteAddr().Addr() }
func (l *pipeLink) close()                 { l.pipe.Close() }

// udpLink carries frames in datagrams.
type udpLink struct {
	sock host.Socket
	to   netip.AddrPort
}

// dialUDP looks up a server and opens a socket.
func dialUDP(m host.Host, name string, port uint16, h linkHandlers) (cancel func()) {
	canceled := false
	m.LookupHost(name, func(addrs []netip.Addr, err error) {
		if canceled {
			return
		}
		if err != nil {
			h.fail(err)
			return
		}
		sock, err := m.OpenSocket(netip.AddrPort{})
		if err != nil {
			h.fail(err)
			return
		}
		l := &udpLink{sock, netip.AddrPortFrom(addrs[0], port)}
		sock.OnReceive(func(from netip.AddrPort, b []byte) {
			if from == l.to {
				h.receive(b)
			}
		})
		h.open(l)
	})
	return func() { canceled = true }
}

func (l *udpLink) send(b []byte, ends []int) {
	from := 0
	for _, end := range ends {
		l.sock.Send(l.to, 0, b[from:end])
		from = end
	}
}

func (l *udpLink) congested() bool    { return false }
func (l *udpLink) stream() bool       { return false }
func (l *udpLink) remote() netip.Addr { return l.to.Addr() }
func (l *udpLink) close()             { l.sock.Close() }
