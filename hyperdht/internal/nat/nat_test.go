package nat

import (
	"net/netip"
	"testing"

	"github.com/dhtprom/dhtprom/spec/vectors"
)

func TestSamplerFollowsVectors(t *testing.T) {
	v := vectors.Load[struct {
		NATSampler []struct {
			Name  string
			Steps []struct {
				Add             vectors.Addr
				Returned        int
				Size, Threshold int
				Host            *string
				Port            uint16
			}
		}
	}](t, "nat")
	if len(v.NATSampler) == 0 {
		t.Fatal("no vectors")
	}
	for _, scenario := range v.NATSampler {
		t.Run(scenario.Name, func(t *testing.T) {
			var s Sampler
			for i, step := range scenario.Steps {
				hits := s.Add(step.Add.AddrPort, netip.AddrPort{})
				if hits != step.Returned || s.Len() != step.Size || s.threshold != step.Threshold {
					t.Fatalf("step %d: hits %d, size %d, threshold %d; want %d, %d, %d",
						i, hits, s.Len(), s.threshold, step.Returned, step.Size, step.Threshold)
				}
				var want netip.Addr
				if step.Host != nil {
					want = netip.MustParseAddr(*step.Host)
				}
				if s.Host() != want || s.Port() != step.Port {
					t.Fatalf("step %d: concluded %v, want %v port %d", i, s.Addr(), want, step.Port)
				}
			}
		})
	}
}

func TestClassifierFollowsVectors(t *testing.T) {
	v := vectors.Load[struct {
		HolepunchNAT []struct {
			Name       string
			Firewalled bool
			Steps      []struct {
				Op        string
				Host      string
				Port      uint16
				From      vectors.Addr
				Firewall  Kind
				Addresses []vectors.Addr
				Sampled   int
				Resolved  bool
			}
		}
	}](t, "nat")
	if len(v.HolepunchNAT) == 0 {
		t.Fatal("no vectors")
	}
	for _, scenario := range v.HolepunchNAT {
		t.Run(scenario.Name, func(t *testing.T) {
			c := NewClassifier(scenario.Firewalled)
			for i, step := range scenario.Steps {
				switch step.Op {
				case "start":
				case "freeze":
					c.Freeze()
				case "unfreeze":
					c.Unfreeze()
				case "add":
					seen := netip.AddrPortFrom(netip.MustParseAddr(step.Host), step.Port)
					c.Add(seen, step.From.AddrPort, scenario.Firewalled)
				default:
					t.Fatalf("unknown op %q", step.Op)
				}
				if c.Firewall() != step.Firewall || c.Sampled() != step.Sampled || c.Settled() != step.Resolved {
					t.Fatalf("step %d: %v, %d samples, settled %v; want %v, %d, %v",
						i, c.Firewall(), c.Sampled(), c.Settled(), step.Firewall, step.Sampled, step.Resolved)
				}
				got := c.Addrs()
				if (got == nil) != (step.Addresses == nil) || len(got) != len(step.Addresses) {
					t.Fatalf("step %d: addresses %v, want %v", i, got, step.Addresses)
				}
				for j, a := range got {
					if a != step.Addresses[j].AddrPort {
						t.Fatalf("step %d: address %d is %v, want %v", i, j, a, step.Addresses[j])
					}
				}
			}
		})
	}
}

func TestClassifierForgetsOpenWhenNodeTurnsFirewalled(t *testing.T) {
	c := NewClassifier(false)
	seen := netip.MustParseAddrPort("203.0.113.1:1")
	for i := range 3 {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 0, byte(i)}), 1)
		c.Add(seen, from, i == 2)
	}
	if c.Firewall() != Consistent {
		t.Errorf("after three equal samples behind a firewall: %v, want consistent", c.Firewall())
	}
}

func TestClassifierTellsWhereMostSawUsWhateverTheVerdict(t *testing.T) {
	c := NewClassifier(false)
	if c.Seen().IsValid() {
		t.Errorf("seen at %v without samples", c.Seen())
	}
	for i, port := range []uint16{1, 2, 2} {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 0, byte(i)}), 1)
		c.Add(netip.AddrPortFrom(netip.MustParseAddr("203.0.113.1"), port), from, false)
	}
	if want := netip.MustParseAddrPort("203.0.113.1:2"); c.Seen() != want || c.Firewall() != Open {
		t.Errorf("seen at %v, %v; want %v, open", c.Seen(), c.Firewall(), want)
	}
}

func TestClassifierRemembersBoundedResponders(t *testing.T) {
	c := NewClassifier(true)
	for i := range 2 * maxResponders {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}), 1)
		c.Add(netip.AddrPortFrom(netip.MustParseAddr("203.0.113.1"), uint16(i+1)), from, true)
	}
	if c.Sampled() != maxResponders {
		t.Errorf("%d samples counted, want %d", c.Sampled(), maxResponders)
	}
}

func TestSamplerFollowsANewHostWithRandomPorts(t *testing.T) {
	var s Sampler
	for i := range 32 {
		addr := netip.MustParseAddr("203.0.113.1")
		if i >= 16 {
			addr = netip.MustParseAddr("203.0.113.2")
		}
		s.Add(netip.AddrPortFrom(addr, uint16(1000+i)), netip.AddrPort{})
		if i == 15 && s.Addr() != netip.AddrPortFrom(addr, 0) {
			t.Fatalf("after 16 samples: %v", s.Addr())
		}
	}
	if want := netip.MustParseAddrPort("203.0.113.2:0"); s.Addr() != want {
		t.Errorf("after 16 samples of a new host: %v, want %v", s.Addr(), want)
	}
}

func TestClassifierTurnsOpenWithTheNextSample(t *testing.T) {
	c := NewClassifier(true)
	c.Add(netip.MustParseAddrPort("203.0.113.1:1"), netip.MustParseAddrPort("10.9.0.1:1"), false)
	if c.Firewall() != Open || !c.Settled() {
		t.Errorf("%v, settled %v; want open at once", c.Firewall(), c.Settled())
	}
}
