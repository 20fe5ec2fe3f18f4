package hyperdht

// Path is the kind of path that the packets of a connection take.
type Path uint8

// The paths of a connection.
const (
	PathNone    Path = iota // not connected yet
	PathDirect              // to an address that is reachable without punching
	PathLAN                 // within one network
	PathPunched             // through NATs that both sides opened
	PathRelayed             // over a blind relay
)

// String returns the path as one word.
func (p Path) String() string {
	switch p {
	case PathNone:
		return "none"
	case PathDirect:
		return "direct"
	case PathLAN:
		return "lan"
	case PathPunched:
		return "punched"
	case PathRelayed:
		return "relayed"
	}
	return "unknown"
}

// PathRule limits the paths that a connection may take. Both sides' rules apply.
type PathRule uint8

// The rules.
const (
	AnyPath    PathRule = iota
	DirectOnly          // no relay, even if the other side names one
	RelayOnly           // nothing but a relay that one of the sides names
)
