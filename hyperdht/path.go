package hyperdht

// Path says how the packets of a connection travel.
type Path uint8

// The paths of a connection.
const (
	PathNone    Path = iota // not connected yet
	PathDirect              // to an address that is open to everybody
	PathLAN                 // within one network
	PathPunched             // through NATs that both sides opened
	PathRelayed             // over a blind relay
)

// String is the path in one word.
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

// PathRule limits the paths that a connection may take. It exists only on paths that both sides allow.
type PathRule uint8

// The rules.
const (
	AnyPath    PathRule = iota
	DirectOnly          // no relay, whoever names one
	RelayOnly           // nothing but a relay that one of the sides names
)
