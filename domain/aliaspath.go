package domain

import "strings"

// The path form of an alias names it in URLs: in /scrape/FORM/metrics, in service discovery and in the API. Aliases are free
// text, much of which would be altered on the way: proxies resolve "." and ".." and merge slashes, an unescaped "?" or "#" ends
// the path, and programs differ in whether they escape at all.
//
// An unambiguous alias is its own path form, as in the JavaScript packages: segments of ASCII letters, digits and any of
// "-._~:@", joined by single slashes, none empty or of dots alone, the first character not "~". Every other alias becomes one
// segment: "~", then the alias's bytes, of which ASCII letters, digits, "-", "_", and dots that do not follow a dot stand for
// themselves, and all others are "~" with two lower-case hex digits.
//
//	web-1        web-1
//	host:9100    host:9100
//	../../x      ~.~2e~2f.~2e~2fx
//	my web       ~my~20web
//
// Path forms contain nothing that needs escaping in a URL's path, and nothing that normalising changes.

// pathEscape begins an escaped path form, and each escaped byte in it.
const pathEscape = '~'

// PathForm returns the form of the alias in a URL's path. Different aliases have different path forms.
func (a Alias) PathForm() string {
	if a.plainPath() {
		return string(a)
	}
	const hex = "0123456789abcdef"
	form := make([]byte, 0, 1+3*len(a))
	form = append(form, pathEscape)
	for i := range len(a) {
		c := a[i]
		if isAlphanumeric(c) || c == '-' || c == '_' || c == '.' && (i == 0 || a[i-1] != '.') {
			form = append(form, c)
			continue
		}
		form = append(form, pathEscape, hex[c>>4], hex[c&15])
	}
	return string(form)
}

// AliasFromPath parses a path form. Text that is not the path form of any alias is the alias itself: URLs made without path forms
// still lead to their alias, except where it reads as another's path form.
func AliasFromPath(text string) Alias {
	if a, ok := unescapePath(text); ok && a.PathForm() == text {
		return a
	}
	return Alias(text)
}

func (a Alias) plainPath() bool {
	if a == "" || a[0] == pathEscape {
		return false
	}
	for segment := range strings.SplitSeq(string(a), "/") {
		if strings.Trim(segment, ".") == "" {
			return false
		}
		for i := range len(segment) {
			if c := segment[i]; !isAlphanumeric(c) && strings.IndexByte("-._~:@", c) < 0 {
				return false
			}
		}
	}
	return true
}

func unescapePath(text string) (a Alias, ok bool) {
	if len(text) < 2 || text[0] != pathEscape {
		return "", false
	}
	text = text[1:]
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] != pathEscape {
			out = append(out, text[i])
			continue
		}
		if i+2 >= len(text) {
			return "", false
		}
		high, low := hexDigit(text[i+1]), hexDigit(text[i+2])
		if high < 0 || low < 0 {
			return "", false
		}
		out = append(out, byte(high<<4|low))
		i += 2
	}
	return Alias(out), true
}

// hexDigit returns the value of a lower-case hex digit, or -1.
func hexDigit(c byte) int { return strings.IndexByte("0123456789abcdef", c) }

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
