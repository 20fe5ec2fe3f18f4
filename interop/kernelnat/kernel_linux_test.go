package kernelnat

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/interop/netns"
)

// kernel is a world of network namespaces: one for each machine and router, and one with a bridge for each segment.
type kernel struct {
	t       *testing.T
	prefix  string
	sockets map[end]*net.UDPConn
	got     chan arrival
	began   time.Time // when until was first called
}

// worlds counts the worlds of this process, for unique names.
var worlds atomic.Int32

func (k *kernel) ns(name string) string { return k.prefix + name }

// run runs a command; it fails the test if the command fails.
func run(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// ip runs a command of ip in a namespace.
func (k *kernel) ip(ns, command string) {
	k.t.Helper()
	run(k.t, append([]string{"ip", "-n", k.ns(ns)}, strings.Fields(command)...)...)
}

func (k *kernel) addNamespace(name string) {
	k.t.Helper()
	full := k.ns(name)
	run(k.t, "ip", "netns", "add", full)
	k.t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "del", full).CombinedOutput(); err != nil {
			k.t.Errorf("namespace %s stays behind: %v\n%s", full, err, out)
		}
	})
	k.ip(name, "link set lo up")
}

// build creates the namespaces of a topology.
func build(t *testing.T, topo topology) *kernel {
	k := &kernel{
		t: t, prefix: fmt.Sprintf("knat%d-%d-", os.Getpid(), worlds.Add(1)),
		sockets: map[end]*net.UDPConn{}, got: make(chan arrival, 64),
	}
	k.addNamespace("hub")
	bridges := map[string]string{}
	plug := func(name, device, segment, addr string) {
		bridge, cable := bridges[segment], fmt.Sprintf("%s-%s", name, device)
		if bridge == "" {
			bridge = fmt.Sprint("br", len(bridges))
			bridges[segment] = bridge
			k.ip("hub", "link add "+bridge+" type bridge")
			k.ip("hub", "link set "+bridge+" up")
		}
		k.ip("hub", "link add "+cable+" type veth peer name "+device+" netns "+k.ns(name))
		k.ip("hub", "link set "+cable+" master "+bridge+" up")
		_, bits, _ := strings.Cut(segment, "/")
		k.ip(name, "addr add "+addr+"/"+bits+" dev "+device)
		k.ip(name, "link set "+device+" up")
	}
	gateway := map[string]string{} // of a segment
	for _, j := range topo.joints {
		k.addNamespace(j.name)
		plug(j.name, "wan", j.uplink, j.addr)
		plug(j.name, "lan", j.lan, j.lanAddr)
		gateway[j.lan] = j.lanAddr
		if up := gateway[j.uplink]; up != "" {
			k.ip(j.name, "route add default via "+up)
		}
		run(t, "ip", "netns", "exec", k.ns(j.name), "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
		nft := exec.Command("ip", "netns", "exec", k.ns(j.name), "nft", "-f", "-")
		nft.Stdin = strings.NewReader(netns.Ruleset(j.kind.forward, j.kind.post))
		if out, err := nft.CombinedOutput(); err != nil {
			t.Fatalf("nft: %v\n%s", err, out)
		}
		if nat := j.kind.nat; nat.Unanswered > 0 {
			k.set(j.name, "udp_timeout", nat.Unanswered)
			k.set(j.name, "udp_timeout_stream", nat.Lifetime)
		}
	}
	for _, p := range topo.places {
		k.addNamespace(p.name)
		plug(p.name, "eth", p.segment, p.addr)
		if up := gateway[p.segment]; up != "" {
			k.ip(p.name, "route add default via "+up)
		}
		for _, j := range topo.joints {
			if j.kind.post == "" && j.uplink == p.segment { // addresses behind a firewall are routed
				k.ip(p.name, "route add "+j.lan+" via "+j.addr)
			}
		}
	}
	return k
}

// set sets one of the timeouts of connection tracking in a namespace.
func (k *kernel) set(name, what string, d time.Duration) {
	k.t.Helper()
	run(k.t, "ip", "netns", "exec", k.ns(name), "sh", "-c",
		fmt.Sprintf("echo %d > /proc/sys/net/netfilter/nf_conntrack_%s", d/time.Second, what))
}

func (k *kernel) until(d time.Duration) {
	if k.began.IsZero() {
		k.began = time.Now()
	}
	<-time.After(time.Until(k.began.Add(d)))
}

func (k *kernel) forget(router string) {
	k.t.Helper()
	if err := netns.FlushSessions(k.ns(router)); err != nil {
		k.t.Fatalf("%s cannot forget its sessions: %v", router, err)
	}
}

func (k *kernel) renumber(router string, from, to netip.Prefix) {
	k.t.Helper()
	k.ip(router, "addr del "+from.String()+" dev wan")
	k.ip(router, "addr add "+to.String()+" dev wan")
	// The kernel forgets what was masqueraded behind the former address later, in a work queue (Linux net/netfilter/nf_nat_masquerade.c).
	slow := time.After(time.Minute)
	for k.sessions(router) > 0 {
		select {
		case <-slow:
			k.t.Fatalf("a minute after %s lost the address %v, its sessions are still there", router, from)
		case <-time.After(time.Millisecond):
		}
	}
}

// sessions returns the number of sessions that a router tracks.
func (k *kernel) sessions(router string) int {
	k.t.Helper()
	var text []byte
	var failed error
	err := netns.Do(k.ns(router), func() { text, failed = os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_count") })
	n, malformed := strconv.Atoi(strings.TrimSpace(string(text)))
	if err = errors.Join(err, failed, malformed); err != nil {
		k.t.Fatal(err)
	}
	return n
}

// open binds a UDP socket in a namespace and listens on it.
func (k *kernel) open(e end) {
	k.t.Helper()
	var c *net.UDPConn
	var failed error
	err := netns.Do(k.ns(e.machine), func() { c, failed = net.ListenUDP("udp4", &net.UDPAddr{Port: int(e.port)}) })
	if err = errors.Join(err, failed); err != nil {
		k.t.Fatal(err)
	}
	k.sockets[e] = c
	k.t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 2048)
		for {
			_, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			k.got <- arrival{e, netip.AddrPortFrom(from.Addr().Unmap(), from.Port())}
		}
	}()
}

func (k *kernel) send(from end, to netip.AddrPort, ttl int, patience time.Duration) (arrival, bool) {
	k.t.Helper()
	c := k.sockets[from]
	raw, err := c.SyscallConn()
	if err != nil {
		k.t.Fatal(err)
	}
	if controlErr := raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_TTL, ttl) }); err != nil || controlErr != nil {
		k.t.Fatal(err, controlErr)
	}
	if _, err := c.WriteToUDPAddrPort([]byte("x"), to); err != nil {
		k.t.Fatalf("sending from %v to %v: %v", from, to, err)
	}
	select {
	case a := <-k.got:
		return a, true
	case <-time.After(patience):
		return arrival{}, false
	}
}
