package examine

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/doctor"
)

var steps = []doctor.Progress{
	{Doing: "entering the DHT"}, {Text: "one\n", Doing: "entering the DHT"}, {Text: "two\nthree\n", Doing: "connecting"}, {Text: "four\n"},
}

func show(json bool, out io.Writer) (logged string, err error) {
	var log bytes.Buffer
	v := newView(json, out, cli.NewScreen(&log), slog.New(slog.NewTextHandler(&log, nil)))
	for _, p := range steps {
		v.add(p)
	}
	err = v.close()
	return log.String(), err
}

func TestTextIsPrintedPartByPart(t *testing.T) {
	var out bytes.Buffer
	if logged, err := show(false, &out); out.String() != "one\ntwo\nthree\nfour\n" || logged != "" || err != nil {
		t.Errorf("printed %q, logged %q, %v", out.String(), logged, err)
	}
}

func TestStepsBeforeJSONAreLogged(t *testing.T) {
	var out bytes.Buffer
	logged, err := show(true, &out)
	if out.Len() > 0 || strings.Count(logged, "\n") != 2 || err != nil {
		t.Errorf("printed %q, logged %q, %v", out.String(), logged, err)
	}
	for _, want := range []string{`level=INFO msg=Examining step="entering the DHT"`, "step=connecting"} {
		if !strings.Contains(logged, want) {
			t.Errorf("%q is not in %q", want, logged)
		}
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestOutputThatFailsIsReported(t *testing.T) {
	if _, err := show(false, broken{}); err == nil {
		t.Error("no error")
	}
}
