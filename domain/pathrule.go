package domain

import (
	"fmt"
	"strings"
)

// PathRule restricts the paths of the connections with a peer.
type PathRule uint8

// The rules. A connection exists only on paths that the rules of both sides allow.
const (
	// AnyPath uses the best path, a relay where there is no direct one.
	AnyPath PathRule = iota
	// DirectOnly uses no relay, whichever side names one.
	DirectOnly
	// RelayOnly uses only a relay that one of the sides names.
	RelayOnly
)

var pathRules = []string{AnyPath: "any", DirectOnly: "direct", RelayOnly: "relay"}

// String returns the rule in the form of ParsePathRule.
func (r PathRule) String() string { return pathRules[r] }

// PathRules are the rules for the peers of a node. The zero value is AnyPath for all.
type PathRules struct {
	Default PathRule
	Peers   map[PublicKey]PathRule
}

// For returns the rule for a peer.
func (r PathRules) For(peer PublicKey) PathRule {
	if rule, ok := r.Peers[peer]; ok {
		return rule
	}
	return r.Default
}

// PathRuleFor is a rule for one peer, or for all where the key is zero.
type PathRuleFor struct {
	Peer PublicKey
	Rule PathRule
}

// ParsePathRule parses "direct", "relay" or "any", or one of them for a peer as KEY=RULE.
func ParsePathRule(s string) (PathRuleFor, error) {
	key, name, one := strings.Cut(s, "=")
	var out PathRuleFor
	if one {
		k, err := ParsePublicKey(key)
		if err != nil {
			// The text is not quoted: it may have been meant as a secret.
			return out, fmt.Errorf("want KEY=RULE, with a public key as 64 hex digits or 52 z32 characters")
		}
		out.Peer = k
	} else {
		name = s
	}
	for i, known := range pathRules {
		if name == known {
			out.Rule = PathRule(i)
			return out, nil
		}
	}
	return out, fmt.Errorf("want any, direct or relay, or one of them for a peer as KEY=RULE")
}

// NewPathRules combines rules; the last one for a peer wins.
func NewPathRules(given []PathRuleFor) PathRules {
	var r PathRules
	for _, g := range given {
		if g.Peer == (PublicKey{}) {
			r.Default = g.Rule
			continue
		}
		if r.Peers == nil {
			r.Peers = make(map[PublicKey]PathRule)
		}
		r.Peers[g.Peer] = g.Rule
	}
	return r
}
