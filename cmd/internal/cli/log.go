package cli

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/common/promslog"
)

// Logger writes to w as configured by the flags. It is promslog's logger, but records without a source position have no source
// attribute, where promslog's have an empty one.
func (a *App) Logger(w io.Writer) *slog.Logger {
	w = &lockedWriter{w: w}
	a.Log.Writer = w
	options := &slog.HandlerOptions{Level: a.Log.Level, ReplaceAttr: durationsAsText}
	var sourceless slog.Handler = slog.NewTextHandler(w, options)
	if a.Log.Format.String() == "json" {
		sourceless = slog.NewJSONHandler(w, options)
	}
	return slog.New(logHandler{Handler: promslog.New(&a.Log).Handler(), sourceless: sourceless})
}

// durationsAsText formats durations as promslog does.
func durationsAsText(_ []string, a slog.Attr) slog.Attr {
	if d, ok := a.Value.Any().(time.Duration); ok {
		a.Value = slog.StringValue(d.String())
	}
	return a
}

type logHandler struct {
	slog.Handler
	sourceless slog.Handler
}

func (h logHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.PC == 0 {
		return h.sourceless.Handle(ctx, r)
	}
	return h.Handler.Handle(ctx, r)
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logHandler{Handler: h.Handler.WithAttrs(attrs), sourceless: h.sourceless.WithAttrs(attrs)}
}

func (h logHandler) WithGroup(name string) slog.Handler {
	return logHandler{Handler: h.Handler.WithGroup(name), sourceless: h.sourceless.WithGroup(name)}
}

// lockedWriter lets two handlers write to the same writer.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}
