package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// topic is a topic as a target of the DHT.
type topic struct{ target id.Target }

// String returns the hash as text.
func (t topic) String() string { return id.FormatKey32(t.target) }

// parseTopic parses a topic: the text of a hash, or a name, whose hash is the topic.
func parseTopic(s string) (topic, error) {
	if s == "" {
		return topic{}, errors.New("want a name or a hash, got nothing")
	}
	if hash, err := id.ParseKey32(s); err == nil {
		return topic{hash}, nil
	}
	return topic{id.Hash([]byte(s))}, nil
}

// parseHash parses the hash of a value, or a key.
func parseHash(s string) ([domain.KeySize]byte, error) {
	hash, err := id.ParseKey32(s)
	if err != nil {
		return hash, fmt.Errorf("want 64 hex digits or 52 z32 characters, got %q", s)
	}
	return hash, nil
}

// peer is a server, or a DHT node if its address is valid.
type peer struct {
	key  domain.PublicKey
	node netip.AddrPort
}

// parsePeer parses a public key, or the address of a DHT node.
func parsePeer(s string) (p peer, err error) {
	if !strings.Contains(s, ":") {
		p.key, err = cli.Key(s)
		if err != nil {
			err = fmt.Errorf("%w, or IPv4 address and port of a DHT node", err)
		}
		return p, err
	}
	p.node, err = netip.ParseAddrPort(s)
	if err != nil || !p.node.Addr().Is4() || p.node.Port() == 0 {
		return peer{}, fmt.Errorf("want a public key, or IPv4 address and port of a DHT node like 192.0.2.1:49737, got %q", s)
	}
	return p, nil
}
