package domain

import (
	"errors"
	"time"
)

// Pin ties an alias to a key: nobody else gets it, whether the alias is live or not, until the pin is taken out.
type Pin struct {
	Alias Alias
	Key   PublicKey
	Since time.Time
}

// Check validates a pin that comes from outside.
func (p Pin) Check() error {
	if _, err := ParseAlias(string(p.Alias)); err != nil {
		return err
	}
	if p.Key.IsZero() {
		return errors.New("key is missing")
	}
	return nil
}

// ErrPinned refuses an alias to all keys but the one that it is tied to.
var ErrPinned = errors.New("the alias belongs to another key")
