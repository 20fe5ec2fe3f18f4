// Package netns helps tests that build networks from the kernel's network namespaces.
package netns

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dhtprom/dhtprom/interop/process"
)

// Dir is the folder in which ip(8) keeps namespaces.
const Dir = "/run/netns"

// Need checks that namespaces can be created, and that tools of iproute2 and nftables are installed. Otherwise it skips the
// test, or fails it if interop is required. Family begins the name of the namespace that it tries.
func Need(t testing.TB, family string, tools ...string) {
	t.Helper()
	refuse := t.Skipf
	if process.Required() {
		refuse = t.Fatalf
	}
	if os.Geteuid() != 0 {
		refuse("NATS OF THE KERNEL NOT TESTED: needs root, to make network namespaces")
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			refuse("NATS OF THE KERNEL NOT TESTED: needs %s (packages iproute2 and nftables)", tool)
		}
	}
	probe := fmt.Sprintf("%s%d-probe", family, os.Getpid())
	if out, err := exec.Command("ip", "netns", "add", probe).CombinedOutput(); err != nil {
		refuse("NATS OF THE KERNEL NOT TESTED: cannot make network namespaces here: %v\n%s", err, out)
	}
	if out, err := exec.Command("ip", "netns", "del", probe).CombinedOutput(); err != nil {
		t.Fatalf("namespace %s stays behind: %v\n%s", probe, err, out)
	}
}

// Do runs f on a thread that is in a namespace: sockets that f opens and processes that it starts are there.
func Do(name string, f func()) error {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer home.Close()
	there, err := os.Open(filepath.Join(Dir, name))
	if err != nil {
		return err
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("setns %s: %w", name, err)
	}
	defer func() {
		if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
			panic(fmt.Errorf("setns back: %w", err)) // this thread cannot be used any more
		}
		runtime.UnlockOSThread()
	}()
	f()
	return nil
}

// FlushSessions has the kernel forget the sessions of its NATs and firewalls in a namespace, as a reboot does: a deletion
// that names no session means all of them (Linux net/netfilter/nf_conntrack_netlink.c).
func FlushSessions(name string) error {
	var failed error
	err := Do(name, func() { failed = flush() })
	if err == nil {
		err = failed
	}
	return err
}

func flush() error {
	s, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	const header, generic, ctDelete = unix.SizeofNlMsghdr, 4, 2
	b := make([]byte, header+generic) // a zero generic part: any family
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], unix.NFNL_SUBSYS_CTNETLINK<<8|ctDelete)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	if err := unix.Sendto(s, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(s, answer, 0)
	if err != nil {
		return err
	}
	if n < header+4 || binary.NativeEndian.Uint16(answer[4:]) != unix.NLMSG_ERROR {
		return fmt.Errorf("conntrack: the kernel answers %x", answer[:n])
	}
	if code := int32(binary.NativeEndian.Uint32(answer[header:])); code != 0 {
		return fmt.Errorf("conntrack: %w", unix.Errno(-code))
	}
	return nil
}

// Ruleset returns a router as nftables rules: the filter of forwarded packets, and the translation of leaving ones. Its own
// input is closed, as on any home router: otherwise a stray datagram to it would make an entry that takes a port away from inside hosts.
func Ruleset(forward, leaving string) string {
	return `
table ip filter {
	chain input { type filter hook input priority filter; policy drop; }
	chain forward {
		type filter hook forward priority filter; policy drop;
		` + forward + `
	}
}
table ip nat {
	chain post {
		type nat hook postrouting priority srcnat;
		` + leaving + `
	}
}`
}
