package domain

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Invite is all that a client needs to register with a scraper, in one string for pasting.
//
//	dhtprom1 <z-base-32 of: length, scraper key, secret, fields, checksum>
//
//	length    2 bytes, big endian: of all that follows, checksum included
//	key       32 bytes
//	secret    32 bytes
//	fields    kind (1 byte), length (1 byte), value; any number
//	checksum  4 bytes: the first of SHA-256 of the prefix and all bytes before
//
// Kinds of fields are 1, a bootstrap node as text, and 2, the key of a blind relay. A reader ignores unknown kinds from 128 on, and
// values of them that it cannot use, and rejects others, because the invite would not work without them. From 128 on there are 128, an
// address of the scraper as text, HOST:PORT, 129, the key of a relay of the invite with an address of it as text, and 130, a TURN server:
// its URI, a user and a password as three lines. Upper case is equivalent to lower case, for QR codes that have upper case only. The holder of an invite may register: it is as secret as the secret in it.
type Invite struct {
	Scraper PublicKey
	Secret  Secret
	// Bootstrap are the nodes of the scraper's private DHT, each as host:port or ip@host:port; none for the public one.
	Bootstrap []string
	// Relays are blind relays for connections that find no direct path, with addresses where these are known.
	Relays []Reference
	// Addrs are addresses at which the scraper can be dialled itself, MaxAddresses at most.
	Addrs []Address
	// TURN are servers for networks from which no UDP gets out, MaxTURNServers at most, with credentials.
	TURN []TURNServer
}

// MaxTURNServers is the number of TURN servers in an invite.
const MaxTURNServers = 4

// MaxAddresses is the number of addresses of a scraper in an invite.
const MaxAddresses = 2

// InvitePrefix starts every invite of the version that this package writes.
const InvitePrefix = inviteName + inviteVersion

const (
	inviteName    = "dhtprom"
	inviteVersion = "1"

	inviteChecksum = 4
	// inviteMin is the minimum length after the length field.
	inviteMin = 2*KeySize + inviteChecksum

	fieldBootstrap  = 1
	fieldRelay      = 2
	fieldOptional   = 128 // and above: may be skipped
	fieldAddress    = 128
	fieldRelayAddr  = 129
	fieldTURN       = 130
	maxInviteNodes  = 8 // bootstrap nodes, and relays
	maxInviteFields = 64
	maxInviteText   = 8192 // characters, white space included
	maxInviteNode   = 255
)

// ErrInvite is matched by every error about an invite.
var ErrInvite = errors.New("invalid invite")

// inviteError describes the error, and never quotes the invite: it is a secret.
type inviteError struct{ why string }

func (e *inviteError) Error() string   { return e.why }
func (e *inviteError) Is(t error) bool { return t == ErrInvite }

func inviteErrorf(format string, args ...any) error {
	return &inviteError{fmt.Sprintf(format, args...)}
}

// LooksLikeInvite reports whether text begins like an invite.
func LooksLikeInvite(text string) bool {
	text = strings.TrimSpace(text)
	return len(text) > len(inviteName) && strings.EqualFold(text[:len(inviteName)], inviteName)
}

// Check validates an invite before it is written.
func (i Invite) Check() error {
	switch {
	case i.Scraper.IsZero():
		return inviteErrorf("has no scraper key")
	case i.Secret.IsZero():
		return inviteErrorf("has no secret")
	case len(i.Bootstrap) > maxInviteNodes:
		return inviteErrorf("has %d bootstrap nodes, at most %d fit", len(i.Bootstrap), maxInviteNodes)
	case len(i.Relays) > maxInviteNodes:
		return inviteErrorf("has %d relays, at most %d fit", len(i.Relays), maxInviteNodes)
	case len(i.Addrs) > MaxAddresses:
		return inviteErrorf("has %d addresses of the scraper, at most %d fit", len(i.Addrs), MaxAddresses)
	case len(i.TURN) > MaxTURNServers:
		return inviteErrorf("has %d TURN servers, at most %d fit", len(i.TURN), MaxTURNServers)
	}
	for _, b := range i.Bootstrap {
		if err := checkInviteNode(b); err != nil {
			return err
		}
	}
	for _, r := range i.Relays {
		switch {
		case r.Key.IsZero():
			return inviteErrorf("has a relay without a key")
		case !r.Addr.IsZero() && !r.Addr.valid():
			return inviteErrorf("has a relay with an address that is not HOST:PORT")
		}
	}
	for _, s := range i.TURN {
		if !s.valid() {
			return inviteErrorf("has a TURN server without user or password, or with more than %d bytes in all", maxInviteNode)
		}
	}
	for _, a := range i.Addrs {
		if !a.valid() {
			return inviteErrorf("has an address of the scraper that is not HOST:PORT")
		}
	}
	return nil
}

// checkInviteNode rejects what cannot be a bootstrap node: host:port or ip@host:port in printable ASCII.
func checkInviteNode(text string) error {
	host, port, ok := cutLast(text, ":")
	n, err := strconv.ParseUint(port, 10, 16)
	if ip, name, both := strings.Cut(host, "@"); both {
		a, bad := netip.ParseAddr(ip)
		ok = ok && bad == nil && a.Is4()
		host = name
	}
	bad := func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"'/\@:`, r) }
	if !ok || err != nil || n == 0 || host == "" || strings.ContainsFunc(host, bad) || len(text) > maxInviteNode {
		return inviteErrorf("has a bootstrap node that is not HOST:PORT: %s", strconv.QuoteToASCII(clip(text, maxInviteNode)))
	}
	return nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// Reveal returns the invite as text, including the secret. It fails where Check does.
func (i Invite) Reveal() (string, error) {
	if err := i.Check(); err != nil {
		return "", err
	}
	secret := i.Secret.Reveal()
	b := make([]byte, 2, 2+inviteMin+64)
	b = append(b, i.Scraper[:]...)
	b = append(b, secret[:]...)
	b = i.appendFields(b)
	binary.BigEndian.PutUint16(b, uint16(len(b)-2+inviteChecksum))
	sum := inviteSum(b)
	return InvitePrefix + z32.EncodeToString(append(b, sum[:]...)), nil
}

// appendFields appends the required fields, and then the optional ones by kind.
func (i Invite) appendFields(b []byte) []byte {
	add := func(kind byte, value string) { b = append(append(b, kind, byte(len(value))), value...) }
	for _, node := range i.Bootstrap {
		add(fieldBootstrap, node)
	}
	for _, r := range i.Relays {
		add(fieldRelay, string(r.Key[:]))
	}
	for _, a := range i.Addrs {
		add(fieldAddress, a.String())
	}
	for _, r := range i.Relays {
		// A longer name does not fit, and the relay is found without it.
		if value := string(r.Key[:]) + r.Addr.String(); !r.Addr.IsZero() && len(value) <= maxInviteNode {
			add(fieldRelayAddr, value)
		}
	}
	for _, s := range i.TURN {
		add(fieldTURN, s.text())
	}
	return b
}

func inviteSum(b []byte) [inviteChecksum]byte {
	sum := sha256.Sum256(append([]byte(InvitePrefix), b...))
	return [inviteChecksum]byte(sum[:])
}

// ParseInvite parses an invite. White space in it is skipped: terminals and mail programs break long lines. The error never
// quotes the text.
func ParseInvite(text string) (Invite, error) {
	if len(text) > maxInviteText {
		return Invite{}, inviteErrorf("is too long: %d characters", len(text))
	}
	text = strings.ToLower(strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, text))
	if text == "" {
		return Invite{}, inviteErrorf("is empty")
	}
	rest, ours := strings.CutPrefix(text, inviteName)
	switch {
	case !ours && strings.HasPrefix(inviteName, text):
		return Invite{}, inviteErrorf("is truncated: it ends after %d characters", len(text))
	case !ours:
		return Invite{}, inviteErrorf("does not start with %q, as all invites do", InvitePrefix)
	case rest == "":
		return Invite{}, inviteErrorf("is truncated: it ends after %d characters", len(text))
	case rest[:1] != inviteVersion && rest[0] >= '0' && rest[0] <= '9':
		return Invite{}, inviteErrorf("has version %c, this program reads version %s; a newer program is needed", rest[0], inviteVersion)
	case rest[:1] != inviteVersion:
		return Invite{}, inviteErrorf("does not start with %q, as all invites do", InvitePrefix)
	}
	return parseInvite(rest[1:])
}

// parseInvite parses the part after the prefix.
func parseInvite(text string) (v Invite, err error) {
	for i, r := range text {
		if r > unicode.MaxASCII || !strings.ContainsRune(z32Alphabet, r) {
			return v, inviteErrorf("has an invalid character at position %d", len(InvitePrefix)+i+1)
		}
	}
	whole := func(bytes int) int { return len(InvitePrefix) + (8*bytes+4)/5 }
	short := func() error {
		return inviteErrorf("is truncated or mistyped: it has %d characters, an invite has at least %d", len(InvitePrefix)+len(text), whole(2+inviteMin))
	}
	if len(text) < 4 { // the length takes 16 bits
		return v, short()
	}
	b, err := z32.DecodeString(text[:len(text)-danglingZ32(len(text))])
	if err != nil || len(b) < 2 {
		return v, short()
	}
	length := int(binary.BigEndian.Uint16(b))
	want := whole(2 + length)
	switch have := len(InvitePrefix) + len(text); {
	case length < inviteMin:
		return v, inviteErrorf("is mistyped near its beginning: its length field is too small")
	case have < want:
		return v, inviteErrorf("is truncated: it has %d of %d characters", have, want)
	case have > want:
		return v, inviteErrorf("is too long: it has %d characters, want %d", have, want)
	}
	end := len(b) - inviteChecksum
	if sum := inviteSum(b[:end]); string(sum[:]) != string(b[end:]) || z32.EncodeToString(b) != text {
		return v, inviteErrorf("is mistyped: its checksum does not match")
	}
	v.Scraper = PublicKey(b[2:])
	v.Secret = SecretFrom([KeySize]byte(b[2+KeySize:]))
	if err := v.readFields(b[2+2*KeySize : end]); err != nil {
		return Invite{}, err
	}
	if err := v.Check(); err != nil {
		return Invite{}, err
	}
	return v, nil
}

// danglingZ32 returns the number of characters at the end of a text of n that form no whole byte: the text was truncated.
func danglingZ32(n int) int {
	switch n % 8 {
	case 1, 3, 6:
		return 1
	}
	return 0
}

func (i *Invite) readFields(b []byte) error {
	for range maxInviteFields {
		if len(b) == 0 {
			return nil
		}
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return inviteErrorf("is malformed: a field ends beyond its end")
		}
		kind, value := b[0], b[2:2+int(b[1])]
		b = b[2+len(value):]
		switch {
		case kind == fieldBootstrap:
			i.Bootstrap = append(i.Bootstrap, string(value))
		case kind == fieldRelay && len(value) == KeySize:
			i.Relays = append(i.Relays, Reference{Key: PublicKey(value)})
		case kind == fieldRelay:
			return inviteErrorf("is malformed: it has a relay key of %d bytes", len(value))
		case kind < fieldOptional:
			return inviteErrorf("has a field of unknown kind %d; a newer program is needed", kind)
		default:
			i.readOptional(kind, value)
		}
	}
	return inviteErrorf("has more than %d fields", maxInviteFields)
}

// readOptional reads an optional field. It ignores one of an unknown kind, or with a value of a form that it does not know.
func (i *Invite) readOptional(kind byte, value []byte) {
	switch {
	case kind == fieldAddress && len(i.Addrs) < MaxAddresses:
		if a, err := ParseAddress(string(value)); err == nil {
			i.Addrs = append(i.Addrs, a)
		}
	case kind == fieldRelayAddr && len(value) > KeySize:
		at := slices.IndexFunc(i.Relays, func(r Reference) bool { return r.Key == PublicKey(value[:KeySize]) })
		if a, err := ParseAddress(string(value[KeySize:])); err == nil && at >= 0 {
			i.Relays[at].Addr = a
		}
	case kind == fieldTURN && len(i.TURN) < MaxTURNServers:
		if s, ok := parseTURNServer(string(value)); ok {
			i.TURN = append(i.TURN, s)
		}
	}
}
