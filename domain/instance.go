package domain

import (
	"encoding/hex"
	"fmt"
)

// Instance identifies one running process of a client. Two processes with the same key pair, such as the old and the new one in a
// rolling restart, have different instances. The zero Instance is unnamed.
type Instance [16]byte

// InstanceOf derives the instance of a client that sent none: the key that its connection was dialled under, which dhtprom
// clients draw at each start. A connection under the registered key itself does not distinguish instances.
func InstanceOf(dial, registered PublicKey) Instance {
	if dial == registered {
		return Instance{}
	}
	return Instance(dial[:16])
}

// IsZero reports whether the instance is unnamed.
func (i Instance) IsZero() bool { return i == Instance{} }

// String is hexadecimal.
func (i Instance) String() string { return hex.EncodeToString(i[:]) }

// MarshalText is String.
func (i Instance) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// UnmarshalText parses the form of String.
func (i *Instance) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(i)) {
		return fmt.Errorf("instance: want %d hexadecimal digits, got %d bytes", hex.EncodedLen(len(i)), len(text))
	}
	if _, err := hex.Decode(i[:], text); err != nil {
		return fmt.Errorf("instance: %w", err)
	}
	return nil
}
