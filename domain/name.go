package domain

import (
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"
)

// Alias is the name that a client registers. It is free text, ':' and '/' included: aliases are data
// everywhere behind the door that ParseAlias is.
type Alias string

// ErrName is matched by every refusal of a name.
var ErrName = errors.New("name refused")

type nameError struct{ what, why string }

func (e *nameError) Error() string   { return e.what + " " + e.why }
func (e *nameError) Is(t error) bool { return t == ErrName }

// ParseAlias checks an alias: 1 to MaxAlias bytes of printable UTF-8.
func ParseAlias(text string) (Alias, error) {
	if text == "" {
		return "", &nameError{"alias", "is empty"}
	}
	return Alias(text), checkName("alias", text, MaxAlias)
}

// CheckHostname checks a hostname: up to MaxHostname bytes of printable UTF-8. It may be empty, as the
// JavaScript allows: then the target has no hostname label.
func CheckHostname(text string) error { return checkName("hostname", text, MaxHostname) }

// CheckService checks a service name: up to MaxService bytes of printable UTF-8. It may be empty.
func CheckService(text string) error { return checkName("service", text, MaxService) }

func checkName(what, text string, limit int) error {
	if len(text) > limit {
		return &nameError{what, fmt.Sprintf("is %d bytes long, at most %d are allowed", len(text), limit)}
	}
	if !utf8.ValidString(text) {
		return &nameError{what, "is not UTF-8"}
	}
	for _, r := range text {
		if !unicode.IsPrint(r) {
			return &nameError{what, fmt.Sprintf("has the character %U, which does not print", r)}
		}
	}
	return nil
}
