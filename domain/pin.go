package domain

import (
	"errors"
	"time"
)

// Pin reserves an alias for a key, whether the alias is live or not, until the pin is removed.
type Pin struct {
	Alias Alias
	Key   PublicKey
	Since time.Time
}

// Check validates a pin from the network or a file.
func (p Pin) Check() error {
	if _, err := ParseAlias(string(p.Alias)); err != nil {
		return err
	}
	if p.Key.IsZero() {
		return errors.New("key is missing")
	}
	return nil
}

// ErrPinned rejects an alias for all keys but the one that it is bound to.
var ErrPinned = errors.New("the alias belongs to another key")
