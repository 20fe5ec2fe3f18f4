package turnserver

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // fixed by the format
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/pion/turn/v5"
)

// Credentials returns the user and the password that a server with a secret accepts until a time. name distinguishes users for limits and
// logs (draft-uberti-behave-turn-rest-00, section 2.2; coturn's use-auth-secret).
func Credentials(secret, name string, until time.Time) (user, password string) {
	user = strconv.FormatInt(until.Unix(), 10)
	if name != "" {
		user += ":" + name
	}
	return user, passwordOf(secret, user)
}

func passwordOf(secret, user string) string {
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(user))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// authenticate returns the name of the user of a request, for limits, and the key that its messages must be signed with.
func (s *Server) authenticate(r *turn.RequestAttributes) (name string, key []byte, ok bool) {
	s.requested(r)
	if password, ok := s.cfg.Users[r.Username]; ok {
		return r.Username, turn.GenerateAuthKey(r.Username, r.Realm, password), true
	}
	at, name, _ := strings.Cut(r.Username, ":")
	until, err := strconv.ParseInt(at, 10, 64)
	if s.cfg.Secret == "" || err != nil || time.Now().Unix() > until {
		s.stats.Unauthorized.Add(1)
		return "", nil, false
	}
	return name, turn.GenerateAuthKey(r.Username, r.Realm, passwordOf(s.cfg.Secret, r.Username)), true
}
