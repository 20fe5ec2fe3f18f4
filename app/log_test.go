package app_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
)

func TestEventLinesNameNoSourceFile(t *testing.T) {
	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"text": func(b *bytes.Buffer) slog.Handler {
			return slog.NewTextHandler(b, &slog.HandlerOptions{AddSource: true})
		},
		"JSON": func(b *bytes.Buffer) slog.Handler {
			return slog.NewJSONHandler(b, &slog.HandlerOptions{AddSource: true})
		},
	} {
		var out bytes.Buffer
		w := newWorld(t)
		app.LogEvents(w.loop, slog.New(handler(&out)))(domain.AliasesUpdated{Entries: 3})
		if !strings.Contains(out.String(), "aliases-updated") || strings.Contains(out.String(), "source") {
			t.Errorf("%s: %s", name, &out)
		}
	}
}
