package exporter

import (
	"bytes"
	"fmt"
	"mime"
	"strconv"
	"strings"
	"unicode/utf8"
)

// CheckText rejects text that does not look like metrics in the text format or in OpenMetrics: every line must be a comment,
// empty, or a sample with a numeric value, and there must be at least one sample. Types, order and duplicates are left to
// Prometheus, whose errors are more precise.
func CheckText(body []byte) error {
	if !utf8.Valid(body) {
		return fmt.Errorf("the answer is not metrics text: not UTF-8")
	}
	samples, number := 0, 0
	for line := range bytes.Lines(body) {
		number++
		text := strings.TrimRight(string(line), "\r\n \t")
		if text == "" || text[0] == '#' {
			continue
		}
		if !isSample(strings.TrimLeft(text, " \t")) {
			return fmt.Errorf("the answer is not metrics text: line %d is not a sample", number)
		}
		samples++
	}
	if samples == 0 {
		return fmt.Errorf("the answer has no sample")
	}
	return nil
}

// isSample reports whether text is a sample like name{label="value"} 1.5 1700000000000 # {trace="x"} 1.
func isSample(text string) bool {
	rest := strings.TrimLeftFunc(text, isNameRune)
	if rest == text && !strings.HasPrefix(text, "{") || text[0] >= '0' && text[0] <= '9' {
		return false
	}
	rest = strings.TrimLeft(rest, " \t")
	if strings.HasPrefix(rest, "{") {
		end := labelsEnd(rest)
		if end < 0 {
			return false
		}
		rest = rest[end:]
	}
	rest, _, _ = strings.Cut(rest, " # ") // an exemplar
	fields := strings.Fields(rest)
	if len(fields) < 1 || len(fields) > 2 {
		return false
	}
	for _, f := range fields {
		if _, err := strconv.ParseFloat(f, 64); err != nil {
			return false
		}
	}
	return true
}

func isNameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == ':'
}

// labelsEnd returns the index after the closing brace, or -1. Braces in quotes do not count.
func labelsEnd(text string) int {
	quoted := false
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == '}' && !quoted:
			return i + 1
		}
	}
	return -1
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
