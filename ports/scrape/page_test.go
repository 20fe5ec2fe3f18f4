package scrape_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/portstest"
	"github.com/dhtprom/dhtprom/ports/scrape"
)

// The type of a text without one follows its last line.
func TestTypeOfATextFollowsItsLastLine(t *testing.T) {
	text, openMetrics := "text/plain; version=0.0.4; charset=utf-8", "application/openmetrics-text; version=1.0.0; charset=utf-8"
	for body, want := range map[string]string{
		"up 1\n": text, "": text, "# EOF inside\nup 1\n": text, "up 1 # EOF\n": text, "up 1\n# EOF\n\n": text, "x# EOF": text,
		"up 1\n# EOF\n": openMetrics, "up 1\n# EOF": openMetrics, "# EOF\n": openMetrics,
	} {
		if p := scrape.Text([]byte(body)); p.ContentType != want || p.Status != domain.StatusOK || p.Length != int64(len(body)) || string(p.Body) != body {
			t.Errorf("%q is %+v", body, p.ScrapeHead)
		}
	}
}

// sent answers with one page.
type sent struct {
	loop *portstest.Loop
	page scrape.Page
	err  error
}

func (s sent) Scrape(_ domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
	return scrape.Send(s.loop, s.page, s.err, h)
}

func TestPagesAreCollectedAsTheyWereSent(t *testing.T) {
	broken := errors.New("broken")
	for _, size := range []int{0, 1, ports.MaxPiece, ports.FirstWindow, ports.FirstWindow + 1, 1 << 20} {
		for _, known := range []bool{true, false} {
			for limit, fits := range map[int]bool{size: true, size - 1: false} {
				if limit < 0 {
					continue
				}
				l := portstest.NewLoop(1)
				page := scrape.Page{ScrapeHead: domain.ScrapeHead{Status: 500, Coding: "x", Length: -1}, Body: bytes.Repeat([]byte("a"), size)}
				if known {
					page.Length = int64(size)
				}
				calls := 0
				l.Turn(func() {
					scrape.Collect(sent{l, page, nil}, domain.ScrapeRequest{}, limit, func(p scrape.Page, err error) {
						calls++
						large, isLarge := errors.AsType[*domain.BodyTooLargeError](err)
						if fits && (err != nil || p.ScrapeHead != page.ScrapeHead || !bytes.Equal(p.Body, page.Body)) {
							t.Errorf("%d bytes: %d, %v", size, len(p.Body), err)
						}
						if !fits && (!isLarge || large.Max != limit || large.Size < limit || len(p.Body) > 0) {
							t.Errorf("%d bytes above a limit of %d: %v", size, limit, err)
						}
					})
					if calls != 0 {
						t.Error("called inside the call")
					}
				})
				if l.Advance(0); calls != 1 {
					t.Errorf("%d bytes: %d calls", size, calls)
				}
			}
		}
	}
	l := portstest.NewLoop(1)
	var got error
	l.Turn(func() {
		scrape.Collect(sent{l, scrape.Text([]byte("x")), broken}, domain.ScrapeRequest{}, 10, func(_ scrape.Page, err error) { got = err })
	})
	if l.Advance(0); !errors.Is(got, broken) {
		t.Errorf("got %v", got)
	}
	l.Turn(func() {
		cancel := scrape.Collect(sent{l, scrape.Text([]byte("x")), nil}, domain.ScrapeRequest{}, 10, func(scrape.Page, error) { t.Error("called after cancel") })
		cancel()
		cancel()
	})
	l.Advance(0)
}
