package record_test

import (
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/record"
)

// Files of earlier versions have these bytes.
func TestRecordsAreStable(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC)
	payload, err := record.EncodePin(domain.Pin{Alias: "a", Key: domain.PublicKey{1}, Since: at})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"v":1,"key":"yryyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy","since":"2026-03-01T12:00:00.000000005Z"}` + "\n7 227a31092262bc36"
	value, sum := record.Seal(record.Pins, "a", payload, 7)
	if string(value) != want {
		t.Errorf("the value is\n%s\nwant\n%s", value, want)
	}
	it, err := record.Unseal(record.Pins, "a", value)
	if err != nil || it.Write != 7 || it.Sum != sum || string(it.Payload) != string(payload) {
		t.Errorf("item %+v: %v", it, err)
	}
	for _, other := range []struct{ table, alias string }{{record.Aliases, "a"}, {record.Pins, "b"}} {
		if _, err := record.Unseal(other.table, other.alias, value); err == nil {
			t.Errorf("it is a record of %q in %s, too", other.alias, other.table)
		}
	}
}
