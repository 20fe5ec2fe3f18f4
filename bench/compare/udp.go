package main

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/net/ipv4"
)

// The raw UDP ping-pong: a request names a range of a page, and its answer is the datagrams of it, all of them sent by one system call.
const (
	datagram     = 1200        // bytes
	maxDatagrams = 64          // in an answer
	socketBuffer = 4 << 20     // bytes
	lost         = time.Second // after which a request is repeated
	maxRepeats   = 30
)

// answerDatagrams answers requests until the socket is closed.
func answerDatagrams(conn *net.UDPConn) error {
	p := ipv4.NewPacketConn(conn)
	in, out := make([]ipv4.Message, maxDatagrams), make([]ipv4.Message, maxDatagrams)
	for i := range in {
		in[i].Buffers, out[i].Buffers = [][]byte{make([]byte, 64)}, [][]byte{make([]byte, datagram)}
	}
	for {
		n, err := p.ReadBatch(in, 0)
		if err != nil {
			return err
		}
		for _, request := range in[:n] {
			b := request.Buffers[0]
			number, size := b[:4], int(binary.LittleEndian.Uint32(b[4:]))
			answer := out[:0]
			for size > 0 && len(answer) < maxDatagrams {
				answer = answer[:len(answer)+1]
				last := &answer[len(answer)-1]
				last.Addr, last.Buffers[0] = request.Addr, last.Buffers[0][:min(size, datagram)]
				copy(last.Buffers[0], number)
				size -= len(last.Buffers[0])
			}
			for len(answer) > 0 {
				sent, err := p.WriteBatch(answer, 0)
				if err != nil {
					return err
				}
				answer = answer[sent:]
			}
		}
	}
}

// caller requests pages, one at a time.
type caller struct {
	conn   *net.UDPConn
	p      *ipv4.PacketConn
	in     []ipv4.Message
	number uint32
}

func newCaller(address string) (*caller, error) {
	to, err := net.ResolveUDPAddr("udp4", address)
	if err != nil {
		return nil, err
	}
	conn, err := net.DialUDP("udp4", nil, to)
	if err != nil {
		return nil, err
	}
	if err := conn.SetReadBuffer(socketBuffer); err != nil {
		return nil, err
	}
	c := &caller{conn: conn, p: ipv4.NewPacketConn(conn), in: make([]ipv4.Message, maxDatagrams)}
	for i := range c.in {
		c.in[i].Buffers = [][]byte{make([]byte, datagram)}
	}
	return c, nil
}

// page receives a page of a size.
func (c *caller) page(size int) error {
	for size > 0 {
		part, err := min(size, maxDatagrams*datagram), error(nil)
		for range maxRepeats {
			if err = c.part(part); err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
		}
		if err != nil {
			return err
		}
		size -= part
	}
	return nil
}

// part receives the answer to one request.
func (c *caller) part(size int) error {
	c.number++
	request := make([]byte, 64)
	binary.LittleEndian.PutUint32(request, c.number)
	binary.LittleEndian.PutUint32(request[4:], uint32(size))
	if _, err := c.conn.Write(request); err != nil {
		return err
	}
	if err := c.conn.SetReadDeadline(time.Now().Add(lost)); err != nil {
		return err
	}
	for size > 0 {
		n, err := c.p.ReadBatch(c.in, 0)
		if err != nil {
			return err
		}
		for _, m := range c.in[:n] {
			if m.N >= 4 && binary.LittleEndian.Uint32(m.Buffers[0]) == c.number {
				size -= m.N
			}
		}
	}
	return nil
}
