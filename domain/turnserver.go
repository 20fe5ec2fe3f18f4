package domain

import "strings"

// TURNServer is a TURN server (RFC 8656) with credentials.
type TURNServer struct {
	// URI is the address and the way to it (RFC 7065), as turns:turn.example:443 or turn:turn.example:80?transport=tcp.
	URI string
	// Username and Password are the long-term credentials, or those that a server with a shared secret accepts until a time.
	Username, Password string
}

// String returns the URI: the password is a secret.
func (s TURNServer) String() string { return s.URI }

// text returns the server as a field of an invite: three lines.
func (s TURNServer) text() string { return s.URI + "\n" + s.Username + "\n" + s.Password }

// parseTURNServer parses such a field.
func parseTURNServer(text string) (s TURNServer, ok bool) {
	lines := strings.Split(text, "\n")
	if len(lines) != 3 {
		return s, false
	}
	s = TURNServer{URI: lines[0], Username: lines[1], Password: lines[2]}
	return s, s.valid()
}

// valid reports whether the server fits into an invite.
func (s TURNServer) valid() bool {
	for _, part := range []string{s.URI, s.Username, s.Password} {
		if part == "" || strings.ContainsFunc(part, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return false
		}
	}
	return len(s.text()) <= maxInviteNode
}
