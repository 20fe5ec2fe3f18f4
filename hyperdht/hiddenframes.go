package hyperdht

import "github.com/dhtprom/dhtprom/hyperdht/internal/secret"

// hiddenFrames finds a message whose length was changed on the way, or of which a part was lost. The length is in clear, and UDX does not
// authenticate packets: a forged packet that arrives before the true one can lengthen a message by up to 16 MiB, and all frames that follow
// are taken for the rest of it.
//
// A sender begins a packet with a frame if nothing waits to be sent, and the packet ends with a frame if nothing follows. So packets in the
// middle of a message that seem to consist of whole frames follow a message that should have ended. The bytes of a message are encrypted, and
// look like that by chance only, whatever the packets and the pauses of its sender; see lastHidden.
type hiddenFrames struct {
	inside bool // all of the packet belongs to a message that began before it, and does not end with it
	left   int  // bytes of the supposed frame that are still to come; 0: the next packet may begin one
	size   int  // of the last packet
	n      int  // packets of this message with which a supposed frame has ended
}

// begin notes that a packet is about to be read, within a message or not.
func (h *hiddenFrames) begin(within bool) { h.inside = within }

// over notes that a message is complete.
func (h *hiddenFrames) over() { h.inside = false }

// end notes that a packet was read. It reports whether the message may still end.
func (h *hiddenFrames) end(packet []byte) bool {
	if !h.inside {
		h.left, h.n = 0, 0
	} else {
		h.follow(packet)
	}
	if len(packet) < h.size { // than the one before: its sender had no more
		h.left = 0
	}
	h.size = len(packet)
	return h.n < lastHidden
}

// follow goes through the supposed frames of a packet.
func (h *hiddenFrames) follow(b []byte) {
	for len(b) > 0 {
		if h.left == 0 {
			h.left = secret.FrameSize(b)
		}
		if h.left == 0 {
			return
		}
		n := min(h.left, len(b))
		h.left -= n
		if b = b[n:]; h.left == 0 && len(b) == 0 {
			h.n++
		}
	}
}

// seen reports whether the message seems to have frames in it.
func (h *hiddenFrames) seen() bool { return h.n > 0 }
