package app

import (
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/states"
)

var sessionTable = &states.Table[domain.SessionState]{Name: "session", States: []states.Rule[domain.SessionState]{
	domain.SessionConnecting: {Name: domain.SessionConnecting.String(), Why: "its dial has a turn, and then the connect timeout",
		Next: []domain.SessionState{domain.SessionOpen, domain.SessionWaiting, domain.SessionClosed}},
	domain.SessionOpen: {Name: domain.SessionOpen.String(), Why: "until the connection closes; the metrics channel opens within the channel timeout",
		Next: []domain.SessionState{domain.SessionWaiting, domain.SessionClosed}},
	domain.SessionWaiting: {Name: domain.SessionWaiting.String(), Why: "until the retry timer expires, or the client registers",
		Next: []domain.SessionState{domain.SessionConnecting, domain.SessionClosed}},
	domain.SessionClosed: {Name: domain.SessionClosed.String()},
}}
