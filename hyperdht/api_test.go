package hyperdht_test

import (
	"testing"

	"github.com/dhtprom/dhtprom/internal/api"
)

// What the library offers, the packages below this one included.
func TestPublicNamesAreThoseOfTheList(t *testing.T) { api.Check(t, "testdata/api.txt", "./...") }
