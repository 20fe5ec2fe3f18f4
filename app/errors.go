package app

import (
	"errors"
	"fmt"

	"github.com/dhtprom/dhtprom/domain"
)

var (
	errPeerEnded   = errors.New("the other side ended the connection")
	errNotAdmitted = errors.New("a peer that was not admitted")
	errBusy        = errors.New("too many requests at once")
	errOverloaded  = errors.New("too many registrations at once")
	errUnconnected = errors.New("the client has no such connection any more")
	errStale       = errors.New("given up for another try, since the way may have changed")
	errCrowdedOut  = errors.New("closed in favour of other connections to the registration service")
	errNoProof     = errors.New("this scraper wants proof that the client holds the key it registers, which dhtprom-client gives")
	errStarted     = errors.New("already started")
	errClosing     = fmt.Errorf("the scraper is stopping: %w", domain.ErrClosed)
)
