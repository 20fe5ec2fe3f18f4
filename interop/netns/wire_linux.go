package netns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Wire is a cable between two network namespaces with the properties of a long line. Some kernels lack netem, so the frames
// go through this process: each end is a TAP device.
type Wire struct {
	ends [2]*os.File

	mu   sync.Mutex
	link Link
}

// Link describes the effects of a line on the packets of either direction. The zero Link has none.
type Link struct {
	Delay  time.Duration // of each packet
	Jitter time.Duration // extra delay between 0 and this, without changing the order
	// Reorder is the probability that a packet is delayed by another Delay, and overtaken meanwhile.
	Reorder float64
	Loss    float64 // the probability that a packet is lost
	MTU     int     // larger IPv4 packets are lost without an ICMP message; 0 is no limit
}

// End is a device that a Wire creates in a namespace.
type End struct{ Namespace, Device string }

// NewWire creates a cable. It is removed with its namespaces, or by Close.
func NewWire(a, b End, l Link) (*Wire, error) {
	w := &Wire{link: l}
	for i, e := range []End{a, b} {
		var err error
		if nsErr := Do(e.Namespace, func() { w.ends[i], err = openTAP(e.Device) }); nsErr != nil || err != nil {
			w.Close()
			return nil, fmt.Errorf("%s in %s: %w", e.Device, e.Namespace, errors.Join(nsErr, err))
		}
	}
	go w.carry(w.ends[0], w.ends[1])
	go w.carry(w.ends[1], w.ends[0])
	return w, nil
}

func openTAP(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Set changes the properties of the line for packets that enter it from now on.
func (w *Wire) Set(l Link) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.link = l
}

// Close removes the cable.
func (w *Wire) Close() {
	for _, f := range w.ends {
		if f != nil {
			_ = f.Close()
		}
	}
}

// onWire is a frame in transit.
type onWire struct {
	due   time.Time
	frame []byte
}

// maxFrame is the longest frame of a TAP device with the usual MTU, and maxUnderWay bounds the frames on the line: a
// gigabit line of 200 ms has fewer.
const (
	maxFrame    = 2048
	maxUnderWay = 1 << 14
)

// carry moves frames from one end to the other until either is closed.
func (w *Wire) carry(from, to *os.File) {
	line := make(chan onWire, maxUnderWay)
	go deliver(line, to)
	defer close(line)
	var last time.Time
	for {
		frame := make([]byte, maxFrame)
		n, err := from.Read(frame)
		if err != nil {
			return
		}
		frame = frame[:n]
		w.mu.Lock()
		l := w.link
		w.mu.Unlock()
		if rand.Float64() < l.Loss || l.MTU > 0 && ipv4Size(frame) > l.MTU {
			continue
		}
		due := time.Now().Add(l.Delay)
		if l.Jitter > 0 {
			due = due.Add(rand.N(l.Jitter))
		}
		if rand.Float64() < l.Reorder {
			time.AfterFunc(time.Until(due)+l.Delay, func() { _, _ = to.Write(frame) })
			continue
		}
		if due.Before(last) {
			due = last
		}
		last = due
		select {
		case line <- onWire{due, frame}:
		default: // a queue that is full
		}
	}
}

// deliver writes frames when they are due.
func deliver(line <-chan onWire, to *os.File) {
	for f := range line {
		if wait := time.Until(f.due); wait > 0 {
			<-time.After(wait)
		}
		_, _ = to.Write(f.frame) // the device may be down, or removed
	}
}

// ipv4Size is the size of the packet in an Ethernet frame; 0 for other protocols.
func ipv4Size(frame []byte) int {
	if len(frame) < 18 || binary.BigEndian.Uint16(frame[12:]) != unix.ETH_P_IP {
		return 0
	}
	return int(binary.BigEndian.Uint16(frame[16:]))
}
