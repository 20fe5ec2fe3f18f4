package turn

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pion/stun/v2"
)

// URI is the address of a server and the way to it (RFC 7065).
type URI struct {
	Host   string
	Port   uint16
	Secure bool // TLS
	UDP    bool // else TCP
}

var errURI = errors.New("want turns:HOST:PORT for TLS, or turn:HOST:PORT?transport=tcp or =udp")

// ParseURI parses a URI, as turns:turn.example:443 or turn:192.0.2.1:3478?transport=tcp. Without a port it is 3478, or 5349 with TLS; turn
// without a transport is over UDP. TURN over DTLS is not supported.
func ParseURI(text string) (u URI, err error) {
	if len(text) > maxURI {
		return u, errURI
	}
	if i := strings.IndexByte(text, ']'); i >= 0 && i+1 < len(text) && !strings.ContainsRune(":?#", rune(text[i+1])) {
		return u, errURI // stun.ParseURI would not end: it finds no port, however often it adds one
	}
	parsed, err := stun.ParseURI(text)
	if err != nil || parsed.Host == "" || parsed.Port < 1 || parsed.Port > 65535 || strings.ContainsAny(parsed.Host, " /@\\") {
		return u, errURI
	}
	u = URI{Host: parsed.Host, Port: uint16(parsed.Port), Secure: parsed.Scheme == stun.SchemeTypeTURNS, UDP: parsed.Proto == stun.ProtoTypeUDP}
	if u.Secure && strings.Contains(text, "?") && u.UDP {
		return u, errors.New("TURN over DTLS is not supported: leave the transport out, for TLS")
	}
	if u.Secure {
		u.UDP = false
	}
	if parsed.Scheme != stun.SchemeTypeTURN && !u.Secure {
		return u, errURI
	}
	return u, nil
}

// Addr returns the address as host:port.
func (u URI) Addr() string { return joined(u.Host, u.Port) }

// joined returns host:port, with brackets around an IPv6 address.
func joined(host string, port uint16) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(int(port))
}

// String returns the URI with its port.
func (u URI) String() string {
	switch {
	case u.Secure:
		return "turns:" + u.Addr()
	case u.UDP:
		return fmt.Sprintf("turn:%s?transport=udp", u.Addr())
	}
	return fmt.Sprintf("turn:%s?transport=tcp", u.Addr())
}
