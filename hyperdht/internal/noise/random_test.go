package noise

import (
	"strings"
	"testing"
)

// A key of a source that fails could be guessed.
func TestNoKeyWithoutRandomness(t *testing.T) {
	if k, err := (&curve{}).GenerateKeypair(strings.NewReader("short")); err == nil || k.Private != nil {
		t.Errorf("key %x, error %v", k.Public, err)
	}
}
