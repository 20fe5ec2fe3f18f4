package source

import (
	"net/http"
	"strconv"

	"github.com/dhtprom/dhtprom/domain"
)

// UserAgent is the user agent of requests whose caller has none.
const UserAgent = "dhtprom-client"

// PassHeader adds the header of a request, which has the fields that the target gets.
func PassHeader(h http.Header, r domain.ScrapeRequest) {
	for _, f := range r.Header {
		h.Add(f.Name, f.Value)
	}
	if r.Field("User-Agent") == "" {
		h.Set("User-Agent", UserAgent)
	}
}

// HeadOf returns the head of a response of HTTP.
func HeadOf(status int, header http.Header) domain.ScrapeHead {
	head := domain.ScrapeHead{Status: status, ContentType: header.Get("Content-Type"), Coding: header.Get("Content-Encoding"), Length: -1}
	if n, err := strconv.ParseInt(header.Get("Content-Length"), 10, 64); err == nil && n >= 0 {
		head.Length = n
	}
	return head
}
