package turn

import (
	"encoding/binary"
	"errors"

	"github.com/dhtprom/dhtprom/internal/stunattr"
)

var errFrame = errors.New("the server sends what is no TURN: is it one, and is the scheme right, turn or turns?")

// frames separates the messages in a stream (RFC 8656, sections 12.5 and 15).
type frames struct {
	rest []byte // the beginning of the next one
	skip int    // bytes that are left of one that is too large
}

// sizeKnown is the number of bytes after which the size of a frame is known.
const sizeKnown = 4

// frameSize returns the size of the frame that b begins with, 0 if b is too short to tell.
func frameSize(b []byte) (int, error) {
	if len(b) < sizeKnown {
		return 0, nil
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	switch b[0] >> 6 {
	case 0:
		if len(b) >= 8 && binary.BigEndian.Uint32(b[4:]) != stunattr.MagicCookie || n%4 != 0 {
			return 0, errFrame
		}
		return headerSize + n, nil
	case 1:
		return channelHeader + (n+padding-1)&^(padding-1), nil
	}
	return 0, errFrame
}

// feed calls each with the frames that received bytes complete. A frame is borrowed. After an error, the stream cannot be read any more.
func (f *frames) feed(b []byte, each func(frame []byte)) error {
	for len(b) > 0 {
		switch {
		case f.skip > 0:
			n := min(f.skip, len(b))
			f.skip -= n
			b = b[n:]
		case len(f.rest) > 0:
			n, err := f.complete(b, each)
			if err != nil {
				return err
			}
			b = b[n:]
		default:
			size, err := frameSize(b)
			switch {
			case err != nil:
				return err
			case size > maxFrame:
				f.skip = size
			case size == 0 || size > len(b):
				f.rest = append(f.rest, b...)
				return nil
			default:
				each(b[:size])
				b = b[size:]
			}
		}
	}
	return nil
}

// complete adds the next bytes to the frame that has begun, no more than belong to it, and returns their number.
func (f *frames) complete(b []byte, each func(frame []byte)) (n int, err error) {
	size, err := frameSize(f.rest)
	if err != nil {
		return 0, err
	}
	if size == 0 {
		n = min(sizeKnown-len(f.rest), len(b))
		f.rest = append(f.rest, b[:n]...)
		if size, err = frameSize(f.rest); err != nil || size != sizeKnown {
			return n, err
		}
	}
	if size > maxFrame {
		f.skip = size - len(f.rest)
		f.rest = f.rest[:0]
		return n, nil
	}
	more := min(size-len(f.rest), len(b)-n)
	f.rest = append(f.rest, b[n:n+more]...)
	if len(f.rest) == size {
		frame := f.rest
		f.rest = f.rest[:0]
		each(frame)
	}
	return n + more, nil
}
