package web

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/adapters/web/hosts"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/bridge"
)

// This file serves changes: reloading, forgetting and pinning. They require a caller authenticated by the web
// configuration, or the operator's permission for all callers (Config.Lifecycle).

const (
	aliasFolder = "/api/v1/aliases/"
	pinFolder   = "/api/v1/pins/"
	reloadPath  = "/-/reload"
)

// Pins is the data of /api/v1/pins.
type Pins struct {
	Pins []Pin `json:"pins"`
}

// Pin is an alias pinned to a key.
type Pin struct {
	Alias     string    `json:"alias"`
	PublicKey string    `json:"publicKey"`
	Since     time.Time `json:"since"`
}

func pinOf(p domain.Pin) Pin {
	return Pin{Alias: string(p.Alias), PublicKey: p.Key.String(), Since: p.Since.UTC()}
}

func (h *Handler) pins(w http.ResponseWriter, r *http.Request) {
	all, err := ask(r.Context(), h.cfg.Loop, h.cfg.Scraper.Pins)
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	data := Pins{Pins: make([]Pin, len(all))}
	for i, p := range all {
		data.Pins[i] = pinOf(p)
	}
	answer(w, http.StatusOK, envelope{Status: "success", Data: data})
}

func refuse(w http.ResponseWriter, code int, why string) {
	answer(w, code, envelope{Status: "error", Error: why})
}

// change serves the paths for changes; served is false for others.
func (h *Handler) change(w http.ResponseWriter, r *http.Request, path string) (served bool) {
	alias, forget := strings.CutPrefix(path, aliasFolder)
	pinned, pin := strings.CutPrefix(path, pinFolder)
	var methods []string
	switch {
	case path == reloadPath && h.cfg.Reload != nil:
		methods = []string{http.MethodPost, http.MethodPut}
	case forget:
		methods = []string{http.MethodDelete}
	case pin:
		methods = []string{http.MethodPut, http.MethodDelete}
	default:
		return false
	}
	if !slices.Contains(methods, r.Method) {
		allowed := strings.Join(methods, ", ")
		w.Header().Set("Allow", allowed)
		refuse(w, http.StatusMethodNotAllowed, "Method not allowed: want "+allowed)
		return true
	}
	if why := h.mayChange(r); why != "" {
		refuse(w, http.StatusForbidden, why)
		return true
	}
	if path != reloadPath && !h.mayRead(w, r) {
		return true
	}
	switch {
	case path == reloadPath:
		h.reload(w)
	case forget:
		h.forget(w, r, domain.AliasFromPath(alias))
	case r.Method == http.MethodPut:
		h.pin(w, r, domain.AliasFromPath(pinned))
	default:
		h.unpin(w, r, domain.AliasFromPath(pinned))
	}
	return true
}

var crossOrigin = http.NewCrossOriginProtection()

// mayChange returns the reason why a caller may not change anything; empty if it may. Requests that another site makes a
// browser send are rejected: by the browser's headers and, where all callers may change things, by the Host field, which
// must be a name that no other site can use.
func (h *Handler) mayChange(r *http.Request) (why string) {
	if err := crossOrigin.Check(r); err != nil {
		return "Cross-site requests are not allowed"
	}
	if h.cfg.Authenticated != nil && h.cfg.Authenticated(r) {
		return ""
	}
	if !h.cfg.Lifecycle {
		return "Changes need passwords or client certificates (--web.config.file), or --web.enable-lifecycle"
	}
	if !h.cfg.Hosts.Accepts(r.Host, hosts.OtherMachines) {
		return "Not allowed under this host name: use an IP address or localhost, or set --web.allowed-host or --web.external-url"
	}
	return ""
}

func (h *Handler) reload(w http.ResponseWriter) {
	if err := h.cfg.Reload(); err != nil {
		line(w, http.StatusInternalServerError, "Reloading failed: "+oneLine(err.Error()))
		return
	}
	line(w, http.StatusOK, "Reloaded")
}

type outcome struct {
	found bool
	pin   domain.Pin
	err   error
}

func (h *Handler) forget(w http.ResponseWriter, r *http.Request, a domain.Alias) {
	h.alter(w, r, "no such alias", func(done func(outcome)) {
		h.cfg.Scraper.Forget(a, func(found bool, err error) { done(outcome{found: found, err: err}) })
	})
}

func (h *Handler) unpin(w http.ResponseWriter, r *http.Request, a domain.Alias) {
	h.alter(w, r, "no such pin", func(done func(outcome)) {
		h.cfg.Scraper.Unpin(a, func(found bool, err error) { done(outcome{found: found, err: err}) })
	})
}

func (h *Handler) pin(w http.ResponseWriter, r *http.Request, a domain.Alias) {
	var key domain.PublicKey
	if text := r.URL.Query().Get("key"); text != "" {
		var err error
		if key, err = domain.ParsePublicKey(text); err != nil {
			refuse(w, http.StatusBadRequest, "key: "+err.Error())
			return
		}
	}
	h.alter(w, r, "", func(done func(outcome)) {
		h.cfg.Scraper.Pin(a, key, func(p domain.Pin, err error) { done(outcome{found: true, pin: p, err: err}) })
	})
}

// changeTimeout limits the wait for the disk.
const changeTimeout = 10 * time.Second

// alter makes a change on the loop and waits until it is durable.
func (h *Handler) alter(w http.ResponseWriter, r *http.Request, missing string, f func(done func(outcome))) {
	ctx, stop := context.WithTimeout(r.Context(), changeTimeout)
	defer stop()
	o, err := bridge.Call(ctx, h.cfg.Loop, func(done func(outcome)) func() {
		f(done)
		return nil
	})
	switch {
	case errors.Is(err, bridge.ErrClosed):
		refuse(w, http.StatusServiceUnavailable, errLoop.Error())
	case err != nil:
		refuse(w, http.StatusServiceUnavailable, "timed out; the change may still be applied")
	case errors.Is(o.err, domain.ErrUnknownAlias):
		refuse(w, http.StatusNotFound, oneLine(o.err.Error()))
	case errors.Is(o.err, domain.ErrNotLeader), errors.Is(o.err, domain.ErrStoreUnreachable):
		refuse(w, http.StatusServiceUnavailable, oneLine(o.err.Error()))
	case errors.Is(o.err, domain.ErrName):
		refuse(w, http.StatusBadRequest, oneLine(o.err.Error()))
	case o.err != nil:
		refuse(w, http.StatusInternalServerError, oneLine(o.err.Error()))
	case !o.found:
		refuse(w, http.StatusNotFound, missing)
	case o.pin != domain.Pin{}:
		answer(w, http.StatusOK, envelope{Status: "success", Data: pinOf(o.pin)})
	default:
		answer(w, http.StatusOK, envelope{Status: "success"})
	}
}
