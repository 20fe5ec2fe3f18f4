package domain

import (
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"
)

// Alias is the name that a client registers. It is free text, ':' and '/' included: once ParseAlias has accepted it, it is data
// everywhere.
type Alias string

// ErrName is matched by every error about a name.
var ErrName = errors.New("invalid name")

type nameError struct{ what, why string }

func (e *nameError) Error() string   { return e.what + " " + e.why }
func (e *nameError) Is(t error) bool { return t == ErrName }

// ParseAlias checks an alias: 1 to MaxAlias bytes of UTF-8 without control characters, line separators and directional
// overrides.
func ParseAlias(text string) (Alias, error) {
	if text == "" {
		return "", &nameError{"alias", "is empty"}
	}
	return Alias(text), checkName("alias", text, MaxAlias)
}

// CheckHostname checks a hostname: up to MaxHostname bytes of UTF-8 as in an alias. It may be empty, as in the JavaScript
// packages: then the target has no hostname label.
func CheckHostname(text string) error { return checkName("hostname", text, MaxHostname) }

// CheckService checks a service name: up to MaxService bytes of UTF-8 as in an alias. It may be empty.
func CheckService(text string) error { return checkName("service", text, MaxService) }

func checkName(what, text string, limit int) error {
	if len(text) > limit {
		return &nameError{what, fmt.Sprintf("is %d bytes long, at most %d are allowed", len(text), limit)}
	}
	if !utf8.ValidString(text) {
		return &nameError{what, "is not UTF-8"}
	}
	for _, r := range text {
		if unicode.In(r, refused...) {
			return &nameError{what, fmt.Sprintf("has the character %U: control characters, line separators and directional overrides are not allowed", r)}
		}
	}
	return nil
}

// refused are the characters that no name may have, though the JavaScript packages accept any. They change the surroundings of a
// name in a terminal, a log or a page: they end lines, move the cursor, or reorder the text that follows. Merely invisible
// characters are allowed: joiners inside of emoji, no-break spaces.
var refused = []*unicode.RangeTable{
	unicode.Cc, unicode.Zl, unicode.Zp,
	{R16: []unicode.Range16{{Lo: 0x202A, Hi: 0x202E, Stride: 1}, {Lo: 0x2066, Hi: 0x2069, Stride: 1}}}, // embeddings, overrides, isolates
}
