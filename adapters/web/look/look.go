// Package look has the frame, the style sheet and the script of the status pages, which those of the scraper and of the client share.
package look

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
)

// Policy restricts a page to its own style and script, whatever names peers register.
const Policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// The paths of the assets.
const (
	StylePath  = "/assets/style.css"
	ScriptPath = "/assets/app.js"
)

//go:embed style.css app.js frame.html
var files embed.FS

// Asset is a file that pages load. Its URL has a hash of its content, so that browsers can cache it indefinitely.
type Asset struct {
	Version string
	content []byte
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
	return Asset{hex.EncodeToString(sum[:6]), content, kind}
}

// ServeHTTP implements http.Handler.
func (a Asset) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", a.kind)
	w.Header().Set("Cache-Control", "max-age=31536000, immutable")
	send(w, r, http.StatusOK, a.content)
}
