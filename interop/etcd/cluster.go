// Package etcd runs clusters of real etcd servers in tests: Debian's package etcd-server.
package etcd

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/interop/process"
	"github.com/dhtprom/dhtprom/interop/tool"
)

// requestTimeout bounds a request of a test to a member.
const requestTimeout = 10 * time.Second

// Cluster is a running cluster. It ends with its test.
type Cluster struct {
	t       testing.TB
	http    http.Client
	path    string // of the program
	flags   []string
	initial string // all members, for the flag --initial-cluster
	members []*member
}

type member struct {
	name   string
	client string // its URL
	peer   string
	dir    string
	*process.Process
}

// StartCluster starts members on loopback, with flags besides those of a cluster, and waits until they have a leader. Without etcd, the
// test is skipped, or fails where interop is required.
func StartCluster(t testing.TB, members int, flags ...string) *Cluster {
	t.Helper()
	return start(t, members, "http://", http.Client{Timeout: requestTimeout}, flags)
}

// StartTLSCluster is StartCluster for members whose clients use TLS: flags name the certificates, and cfg is that of this package's own
// requests.
func StartTLSCluster(t testing.TB, members int, cfg *tls.Config, flags ...string) *Cluster {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: cfg}
	t.Cleanup(transport.CloseIdleConnections)
	return start(t, members, "https://", http.Client{Timeout: requestTimeout, Transport: transport}, flags)
}

func start(t testing.TB, members int, scheme string, client http.Client, flags []string) *Cluster {
	t.Helper()
	c := &Cluster{t: t, http: client, path: tool.Require(t, "etcd"), flags: flags}
	dir, addresses := t.TempDir(), freeAddresses(t, 2*members)
	var initial []string
	for i := range members {
		name := fmt.Sprint("etcd", i)
		m := &member{
			name: name, dir: filepath.Join(dir, name),
			client: scheme + addresses[2*i], peer: "http://" + addresses[2*i+1],
		}
		c.members = append(c.members, m)
		initial = append(initial, name+"="+m.peer)
	}
	c.initial = strings.Join(initial, ",")
	for i := range c.members {
		c.start(i)
	}
	for i := range c.members {
		c.Await(i)
	}
	return c
}

func (c *Cluster) start(i int) {
	c.t.Helper()
	m := c.members[i]
	m.Process = process.Start(c.t, process.Command{Path: c.path, Args: append([]string{
		"--name=" + m.name, "--data-dir=" + m.dir, "--log-level=error", "--logger=zap",
		"--listen-client-urls=" + m.client, "--advertise-client-urls=" + m.client,
		"--listen-peer-urls=" + m.peer, "--initial-advertise-peer-urls=" + m.peer,
		"--initial-cluster=" + c.initial, "--initial-cluster-state=new",
	}, c.flags...)})
}

// nextPort is the position at which freeAddresses continues, so that tests that run at the same time get different ones.
var nextPort atomic.Int64

// freeAddresses finds unused TCP addresses on loopback, below the ephemeral ports: a member that is restarted needs its own again.
func freeAddresses(t testing.TB, n int) (addresses []string) {
	t.Helper()
	const first, ports = 10000, 10000
	for range ports {
		port := first + (os.Getpid()*101+int(nextPort.Add(1)))%ports
		address := fmt.Sprintf("127.0.0.1:%d", port)
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		_ = l.Close() // it is free again
		if addresses = append(addresses, address); len(addresses) == n {
			return addresses
		}
	}
	t.Fatal("no free ports")
	return nil
}

// Await waits until a member serves requests, for which it needs a leader.
func (c *Cluster) Await(i int) {
	c.t.Helper()
	process.Until(c.t, c.members[i].name+" serves", func() error {
		_, err := c.status(i)
		return err
	})
}

// Endpoints returns the URLs of the members.
func (c *Cluster) Endpoints() (urls []string) {
	for _, m := range c.members {
		urls = append(urls, m.client)
	}
	return urls
}

// Kill ends a member as a crash does.
func (c *Cluster) Kill(i int) { c.members[i].Kill() }

// Freeze stops a member without closing its connections, until Thaw.
func (c *Cluster) Freeze(i int) { c.members[i].Signal(syscall.SIGSTOP) }

// Thaw lets a member continue.
func (c *Cluster) Thaw(i int) { c.members[i].Signal(syscall.SIGCONT) }

// Restart starts a member that was killed, with its data. Await waits until it serves.
func (c *Cluster) Restart(i int) {
	c.t.Helper()
	c.members[i].Kill()
	c.start(i)
}

type status struct {
	Header struct {
		MemberID string `json:"member_id"`
	}
	Leader string
}

func (c *Cluster) status(i int) (s status, err error) {
	err = c.request(i, "/v3/maintenance/status", struct{}{}, &s)
	if err == nil && (s.Leader == "" || s.Leader == "0") {
		err = errors.New("it has no leader")
	}
	return s, err
}

// Leader returns the member that leads.
func (c *Cluster) Leader() (leader int) {
	c.t.Helper()
	process.Until(c.t, "a leader is known", func() error {
		for i := range c.members {
			if s, err := c.status(i); err == nil && s.Leader == s.Header.MemberID {
				leader = i
				return nil
			}
		}
		return errors.New("no member leads")
	})
	return leader
}

// Size returns the used bytes of the file of the first member.
func (c *Cluster) Size() (bytes int64) {
	c.t.Helper()
	var s struct {
		DBSizeInUse int64 `json:"dbSizeInUse,string"`
	}
	if err := c.request(0, "/v3/maintenance/status", struct{}{}, &s); err != nil {
		c.t.Fatal(err)
	}
	return s.DBSizeInUse
}

// Compact removes the revisions before one from the history.
func (c *Cluster) Compact(revision int64) {
	c.t.Helper()
	c.Request("/v3/kv/compaction", map[string]any{"revision": fmt.Sprint(revision), "physical": true})
}

// Revoke removes a lease with its keys.
func (c *Cluster) Revoke(lease int64) {
	c.t.Helper()
	c.Request("/v3/lease/revoke", map[string]any{"ID": fmt.Sprint(lease)})
}

// Request sends a request of etcd's JSON interface to the first member that takes it.
func (c *Cluster) Request(path string, body any) {
	c.t.Helper()
	process.Until(c.t, path, func() (err error) {
		for i := range c.members {
			if err = c.request(i, path, body, &struct{}{}); err == nil {
				return nil
			}
		}
		return err
	})
}

func (c *Cluster) request(i int, path string, body, answer any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	response, err := c.http.Post(c.members[i].client+path, "application/json", bytes.NewReader(text))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return err
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %s: %s", path, response.Status, got)
	}
	return json.Unmarshal(got, answer)
}
