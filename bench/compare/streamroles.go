package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/dhtnet"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// On a stream, the dialer sends a header, a mode and a number of bytes, and then that many. The listener answers the last byte of a bulk
// by one byte, and echoes trips as they arrive.
const (
	bulk  = byte(0)
	trips = byte(1)

	headerSize = 9
	tripSize   = 64      // bytes
	chunkSize  = 1 << 20 // bytes of a write
)

var loopback = netip.MustParseAddrPort("127.0.0.1:0")

func startNode(bootstrap string) (*dhtnet.Net, error) {
	return dhtnet.Start(context.Background(), udp.New(udp.Options{}), hyperdht.Config{Bootstrap: []string{bootstrap}, Listen: loopback})
}

// listenRole serves streams. Its argument is a bootstrap node.
func listenRole(args []string) (any, func([]string) (any, error), error) {
	n, err := startNode(args[0])
	if err != nil {
		return nil, nil, err
	}
	var seed id.Seed
	rand.Read(seed[:])
	keys := id.KeyPairFromSeed(seed)
	l, err := n.Listen(context.Background(), hyperdht.ListenOptions{Keys: keys, HideLocalAddrs: true})
	if err != nil {
		return nil, nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				fmt.Fprintln(os.Stderr, answerStream(c))
				c.Close()
			}()
		}
	}()
	ready := map[string]string{"key": fmt.Sprintf("%x", keys.Public[:])}
	return ready, func([]string) (any, error) { return done{}, nil }, nil
}

func answerStream(c io.ReadWriter) error {
	header, b := make([]byte, headerSize), make([]byte, chunkSize)
	for {
		if _, err := io.ReadFull(c, header); err != nil {
			return err
		}
		for left := binary.LittleEndian.Uint64(header[1:]); left > 0; {
			n, err := c.Read(b[:min(left, chunkSize)])
			left -= uint64(n)
			switch {
			case err != nil:
				return err
			case header[0] == trips:
				_, err = c.Write(b[:n])
			case left == 0:
				_, err = c.Write([]byte{1})
			}
			if err != nil {
				return err
			}
		}
	}
}

// timed is the answer of a dialer: the time that a bulk or the trips took.
type timed struct {
	Seconds float64 `json:"seconds"`
}

// dialRole dials a key. Its arguments are a bootstrap node and the key; its lines are bulk with a number of bytes, and trips with a number.
func dialRole(args []string) (any, func([]string) (any, error), error) {
	key, err := id.ParsePublicKey(args[1])
	if err != nil {
		return nil, nil, err
	}
	n, err := startNode(args[0])
	if err != nil {
		return nil, nil, err
	}
	c, err := n.Dial(context.Background(), key, hyperdht.ConnectOptions{NoLocal: true})
	if err != nil {
		return nil, nil, err
	}
	return done{}, func(line []string) (any, error) {
		n, err := strconv.Atoi(line[1])
		if err != nil {
			return nil, err
		}
		began := time.Now()
		if line[0] == "trips" {
			err = sendTrips(c, n)
		} else {
			err = sendBulk(c, n)
		}
		return timed{time.Since(began).Seconds()}, err
	}, nil
}

func sendHeader(c io.Writer, mode byte, n int) error {
	_, err := c.Write(binary.LittleEndian.AppendUint64([]byte{mode}, uint64(n)))
	return err
}

func sendBulk(c io.ReadWriter, size int) error {
	if err := sendHeader(c, bulk, size); err != nil {
		return err
	}
	for b := make([]byte, chunkSize); size > 0; {
		n, err := c.Write(b[:min(size, chunkSize)])
		if err != nil {
			return err
		}
		size -= n
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

func sendTrips(c io.ReadWriter, n int) error {
	if err := sendHeader(c, trips, n*tripSize); err != nil {
		return err
	}
	b := make([]byte, tripSize)
	for range n {
		if _, err := c.Write(b); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, b); err != nil {
			return err
		}
	}
	return nil
}

// callerRole is the load generator of raw UDP. Its argument is the address of the role udp; its lines are trips with a number.
func callerRole(args []string) (any, func([]string) (any, error), error) {
	c, err := newCaller(args[0])
	if err != nil {
		return nil, nil, err
	}
	return done{}, func(line []string) (any, error) {
		n, err := strconv.Atoi(line[1])
		began := time.Now()
		for range n {
			if err == nil {
				err = c.page(tripSize)
			}
		}
		return timed{time.Since(began).Seconds()}, err
	}, nil
}
