// Package look has the style sheet and the script of the status pages, which those of the scraper and of the client share.
package look

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"strconv"
)

// Policy restricts a page to its own style and script, whatever names peers register.
const Policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// The paths of the assets.
const (
	StylePath  = "/assets/style.css"
	ScriptPath = "/assets/app.js"
)

//go:embed style.css app.js
var files embed.FS

// Asset is a file that pages load. Its URL has a hash of its content, so that browsers can cache it indefinitely.
type Asset struct {
	Content []byte
	Version string
	kind    string
}

// The assets.
var (
	Style  = newAsset("style.css", "text/css; charset=utf-8")
	Script = newAsset("app.js", "text/javascript; charset=utf-8")
)

func newAsset(name, kind string) Asset {
	content, err := files.ReadFile(name)
	if err != nil {
		panic(err) // it is compiled in
	}
	sum := sha256.Sum256(content)
	return Asset{Content: content, Version: hex.EncodeToString(sum[:6]), kind: kind}
}

// SetHeader sets the header fields of an answer with the asset.
func (a Asset) SetHeader(h http.Header) {
	h.Set("Content-Type", a.kind)
	h.Set("Cache-Control", "max-age=31536000, immutable")
}

// ServeHTTP implements http.Handler.
func (a Asset) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.SetHeader(w.Header())
	w.Header().Set("Content-Length", strconv.Itoa(len(a.Content)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(a.Content)
	}
}
