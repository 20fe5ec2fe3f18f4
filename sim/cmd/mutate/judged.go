package main

import (
	_ "embed"
	"fmt"
	"strings"
)

//go:embed judged.txt
var judgedText string

// judged returns the mutations that were found equivalent, each with the reason.
func judged() (map[string]string, error) { return parseJudged(judgedText) }

// parseJudged reads judgements: the name of a mutation on a line of its own, and the reason indented below it. A line that
// begins with # is a comment.
func parseJudged(text string) (map[string]string, error) {
	reasons, name := map[string]string{}, ""
	for line := range strings.Lines(text) {
		said := strings.TrimSpace(line)
		switch {
		case said == "" || strings.HasPrefix(line, "#"):
		case line[0] != '\t':
			if _, twice := reasons[said]; twice {
				return nil, fmt.Errorf("%s is judged twice", said)
			}
			name = said
			reasons[name] = ""
		case name == "":
			return nil, fmt.Errorf("a reason without a mutation: %s", said)
		default:
			reasons[name] = strings.TrimSpace(reasons[name] + " " + said)
		}
	}
	for name, reason := range reasons {
		if reason == "" {
			return nil, fmt.Errorf("%s is judged without a reason", name)
		}
	}
	return reasons, nil
}

// stale returns the judgements whose place no longer exists.
func (t *tree) stale(reasons map[string]string) []string {
	var gone []string
	there := map[string]bool{}
	for _, p := range t.all(0) {
		there[p.String()] = true
	}
	for name := range reasons {
		if !there[name] {
			gone = append(gone, name)
		}
	}
	return gone
}
