package udx

// Amplification is the number of bytes that may be sent to an address that has not answered, for each byte that its peer has sent
// (RFC 9000 section 8.1).
const Amplification = 3

// Allowance limits what is sent to an address that may be a victim's: the sender of the packets that named it may not be
// there. It counts bytes of UDP payload. A nil Allowance limits nothing.
type Allowance struct {
	received, sent int
	validated      bool
}

// Receive counts n bytes of the peer.
func (a *Allowance) Receive(n int) {
	if a.Limited() {
		a.received += n
	}
}

// Allows reports whether n bytes may be sent now.
func (a *Allowance) Allows(n int) bool {
	return !a.Limited() || a.sent+n <= Amplification*a.received
}

// Send counts n bytes that are sent.
func (a *Allowance) Send(n int) {
	if a.Limited() {
		a.sent += n
	}
}

// Validate ends the limit: the peer has shown that it receives what is sent to the address.
func (a *Allowance) Validate() {
	if a != nil {
		a.validated = true
	}
}

// Limited reports whether the address has not answered yet.
func (a *Allowance) Limited() bool { return a != nil && !a.validated }
