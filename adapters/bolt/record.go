package bolt

import (
	"encoding/json"

	"github.com/dhtprom/dhtprom/internal/record"
)

// tableFormat is the version of everything around the records.
const tableFormat = 1

var (
	aliasBucket   = []byte(record.Aliases)
	pinBucket     = []byte(record.Pins)
	summaryBucket = []byte("summary")
	summaryKey    = []byte("table")
)

// summary is a record with the counts and checksums of the others, so that a missing record is detected. Each write updates
// it.
type summary struct {
	Format  int    `json:"format"`
	Write   uint64 `json:"write"` // number of the write, bbolt's transaction id
	Aliases tally  `json:"aliases"`
	Pins    tally  `json:"pins"`
}

// summaryOf returns the summary of a write.
func summaryOf(write uint64, tallies map[string]tally) ([]byte, error) {
	return json.Marshal(summary{
		Format: tableFormat, Write: write, Aliases: tallies[string(aliasBucket)], Pins: tallies[string(pinBucket)],
	})
}

// tally is the count of a bucket's records and the sum of their checksums.
type tally struct {
	Count int    `json:"count"`
	Sum   uint64 `json:"sum,string"`
}

func (t *tally) add(sum uint64)    { t.Count, t.Sum = t.Count+1, t.Sum+sum }
func (t *tally) remove(sum uint64) { t.Count, t.Sum = t.Count-1, t.Sum-sum }
