package sim

import "testing"

// TestFleetOfHundreds plays the fleet where dials wait for each other. The nightly run plays it with 5,000 clients.
func TestFleetOfHundreds(t *testing.T) {
	play(t, Options{Scenario: "fleet", Seed: 4, Clients: 300})
}
