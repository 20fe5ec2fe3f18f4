package dhtprom_test

import (
	"testing"

	"github.com/dhtprom/dhtprom/internal/api"
)

func TestPublicNamesAreThoseOfTheList(t *testing.T) {
	api.Check(t, "testdata/api.txt", ".", "./client", "./scraper", "./node", "./doctor", "./wiring")
}
