package source

import (
	"mime"
	"net/http"
	"strings"

	"github.com/dhtprom/dhtprom/domain"
)

// passHeader adds the header of a request, which has the fields that the target gets.
func passHeader(h http.Header, r domain.ScrapeRequest) {
	for _, f := range r.Header {
		h.Add(f.Name, f.Value)
	}
	if r.Field("User-Agent") == "" {
		h.Set("User-Agent", agent)
	}
}

const protobufType = "application/vnd.google.protobuf"

// mediaType returns the media type of a content type, in lower case; empty where there is none.
func mediaType(contentType string) string {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		kind, _, _ = strings.Cut(contentType, ";")
	}
	return strings.ToLower(strings.TrimSpace(kind))
}
