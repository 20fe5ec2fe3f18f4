package exporter

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/dhtprom/dhtprom/adapters/source"
	"github.com/dhtprom/dhtprom/adapters/source/families"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/coding"
)

// filtered is a page without some of its families.
type filtered struct {
	page    *families.Reader
	body    *remembering
	decoder io.Closer
	dropped *source.Dropped
}

// filter decodes a page and applies the rules for families.
func (e *exporter) filter(h domain.ScrapeHead, body io.Reader) (*filtered, error) {
	in := &remembering{from: body}
	decoder, err := coding.NewReader(coding.Name(h.Coding), in)
	if err != nil {
		return nil, source.Fail(err, domain.FaultExporter, "rules for metric families cannot be applied: %s", err)
	}
	page, err := families.NewReader(decoder, h.ContentType, e.cfg.Families)
	if err != nil {
		return nil, source.Fail(err, domain.FaultExporter, "%s", err)
	}
	return &filtered{page: page, body: in, decoder: decoder, dropped: e.dropped}, nil
}

// Read implements io.Reader. Its errors other than those of the body say what is wrong with the page.
func (f *filtered) Read(b []byte) (int, error) {
	n, err := f.page.Read(b)
	if err != nil && err != io.EOF && f.body.err == nil {
		err = source.Fail(err, domain.FaultExporter, "%s", err)
	}
	return n, err
}

// Close counts what was left out.
func (f *filtered) Close() error {
	dropped, samples, _ := f.page.Dropped()
	f.dropped.Add(dropped, samples)
	return f.decoder.Close()
}

// remembering is a reader that remembers its error.
type remembering struct {
	from io.Reader
	err  error // other than io.EOF
}

// Read implements io.Reader.
func (r *remembering) Read(b []byte) (n int, err error) {
	if n, err = r.from.Read(b); err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

// filterText applies the rules for families to a text.
func (e *exporter) filterText(contentType string, text []byte) ([]byte, error) {
	f, err := e.filter(domain.ScrapeHead{ContentType: contentType}, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	kept, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("rules for metric families: %w", err)
	}
	return kept, nil
}
