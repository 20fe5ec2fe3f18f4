package dhtprom_test

import (
	"context"
	"testing"

	"github.com/dhtprom/dhtprom/hyperdht/dhtnet"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/swarm"
)

// startSwarm starts a swarm with a topic.
func startSwarm(t *testing.T, n *dhtnet.Net) (*dhtnet.Swarm, *dhtnet.Topic) {
	t.Helper()
	s, err := n.Swarm(context.Background(), swarm.Config{})
	if err != nil {
		t.Fatal(err)
	}
	topic, err := s.Join(context.Background(), id.Target{1}, swarm.JoinOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s, topic
}

func swarmMethods(s *dhtnet.Swarm, refused func(error)) map[string]func() {
	ctx := context.Background()
	return map[string]func(){
		"PublicKey": func() { s.PublicKey() },
		"Accept":    func() { _, err := s.Accept(ctx); refused(err) },
		"Join":      func() { _, err := s.Join(ctx, id.Target{2}, swarm.JoinOptions{}); refused(err) },
		"Flush":     func() { refused(s.Flush(ctx)) },
		"JoinPeer":  func() { _ = s.JoinPeer(ctx, id.PublicKey{1}) },
		"LeavePeer": func() { _ = s.LeavePeer(ctx, id.PublicKey{1}) },
		"Ban":       func() { _ = s.Ban(ctx, id.PublicKey{1}) },
		"Unban":     func() { _ = s.Unban(ctx, id.PublicKey{1}) },
		"Suspend":   func() { _ = s.Suspend(ctx) },
		"Resume":    func() { refused(s.Resume(ctx)) },
		"Do":        func() { _ = s.Do(ctx, func(*swarm.Swarm) {}) },
		"Close":     func() { _ = s.Close() },
	}
}

func topicMethods(t *dhtnet.Topic, refused func(error)) map[string]func() {
	ctx := context.Background()
	return map[string]func(){
		"Flush":   func() { refused(t.Flush(ctx)) },
		"Refresh": func() { refused(t.Refresh(ctx, swarm.JoinOptions{Mode: swarm.ClientOnly})) },
		"Leave":   func() { _ = t.Leave(ctx) },
	}
}
