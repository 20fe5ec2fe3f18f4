package main

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/alecthomas/units"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/cmd/internal/turnflags"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/privatefile"
	"github.com/dhtprom/dhtprom/keyfile"
	"github.com/dhtprom/dhtprom/node/turnserver"
)

// turnServerConfig has the values of the flags of relay for its TURN server.
type turnServerConfig struct {
	turnserver.Config
	streams, packets  []string // addresses to listen on
	certFile, keyFile string
	secretFile        string
	ports             portRange
}

// portRange is a range of UDP ports.
type portRange struct{ first, last uint16 }

// turnSecretFile is the default file of the secret in the storage path.
const turnSecretFile = "turn.secret"

func (c *turnServerConfig) add(cmd *kingpin.CmdClause) {
	cmd.Flag("turn.listen-address", "Address to run a TURN server on, over TCP, with TLS if there is a certificate: for nodes in networks without UDP. Repeatable. Default: none.").
		PlaceHolder(":443").SetValue(cli.List("turn.listen-address", &c.streams, cli.TCPAddr))
	cmd.Flag("turn.udp-listen-address", "Address for the TURN server over UDP. Repeatable. Default: none.").
		PlaceHolder(":3478").SetValue(cli.List("turn.udp-listen-address", &c.packets, cli.TCPAddr))
	cmd.Flag("turn.tls-cert-file", "File with the certificate of the TURN server, in PEM; read again when it changes.").
		PlaceHolder("FILE").SetValue(cli.Value("turn.tls-cert-file", &c.certFile, cli.Text))
	cmd.Flag("turn.tls-key-file", "File with the key of the certificate.").
		PlaceHolder("FILE").SetValue(cli.Value("turn.tls-key-file", &c.keyFile, cli.Text))
	cmd.Flag("turn.public-ip", "IPv4 address at which the internet reaches this machine. Default: that of --dht.public-address.").
		PlaceHolder("ADDR").SetValue(cli.Value("turn.public-ip", &c.Public, cli.IPv4))
	cmd.Flag("turn.ports", "UDP ports that the TURN server relays on, which must be reachable.").Default("49152-65535").
		SetValue(cli.Value("turn.ports", &c.ports, parsePorts))
	cmd.Flag("turn.secret-file", "File with the secret from which invite --turn makes credentials. Default: turn.secret in the storage path, created at the first start.").
		PlaceHolder("FILE").SetValue(cli.Value("turn.secret-file", &c.secretFile, cli.Text))
	cmd.Flag("turn.max-allocations", "Maximum number of clients of the TURN server.").Default(strconv.Itoa(turnserver.DefaultAllocations)).
		SetValue(cli.Value("turn.max-allocations", &c.MaxAllocations, cli.Int(1, 1<<16)))
	cmd.Flag("turn.max-allocations-per-user", "Maximum number of clients with the same user, as those of one invite.").Default(strconv.Itoa(turnserver.DefaultUserAllocation)).
		SetValue(cli.Value("turn.max-allocations-per-user", &c.MaxUserAllocations, cli.Int(1, 1<<16)))
	cmd.Flag("turn.bandwidth", "Maximum of what the TURN server relays for a client, in each direction and second. The rest is dropped.").Default("2MB").
		SetValue(cli.Value("turn.bandwidth", &c.Bandwidth, parseBandwidth))
	cmd.Flag("turn.allow-peers", "Network that clients may reach through the TURN server though it is not public. Repeatable. Default: none.").
		PlaceHolder("CIDR").SetValue(cli.List("turn.allow-peers", &c.AllowPeers, netip.ParsePrefix))
}

func parsePorts(s string) (portRange, error) {
	first, last, ok := strings.Cut(s, "-")
	low, err1 := strconv.ParseUint(first, 10, 16)
	high, err2 := strconv.ParseUint(last, 10, 16)
	if !ok || err1 != nil || err2 != nil || low == 0 || low > high {
		return portRange{}, fmt.Errorf("want a range of ports, as 49152-65535, got %q", s)
	}
	return portRange{uint16(low), uint16(high)}, nil
}

func parseBandwidth(s string) (int, error) {
	n, err := units.ParseBase2Bytes(s)
	if err != nil || n < 16<<10 || n > 1<<30 {
		return 0, fmt.Errorf("want bytes per second from 16KB to 1GB, got %q", s)
	}
	return int(n), nil
}

// on reports whether there is a TURN server.
func (c *turnServerConfig) on() bool { return len(c.streams)+len(c.packets) > 0 }

// check checks the flags as far as it needs no file.
func (c *turnServerConfig) check() error {
	switch {
	case (c.certFile == "") != (c.keyFile == ""):
		return errors.New("--turn.tls-cert-file and --turn.tls-key-file belong together")
	case !c.on() && (c.certFile != "" || c.secretFile != "" || c.Public.IsValid()):
		return errors.New("there is no TURN server: set --turn.listen-address")
	}
	return nil
}

// start starts the TURN server.
func (c *turnServerConfig) start(storage string, known domain.Address, log *slog.Logger) (*turnserver.Server, error) {
	cfg := c.Config
	cfg.Logger, cfg.FirstPort, cfg.LastPort = log, c.ports.first, c.ports.last
	if !cfg.Public.IsValid() {
		var err error
		if cfg.Public, err = netip.ParseAddr(known.Host); err != nil {
			return nil, errors.New("--turn.public-ip is required: the IPv4 address at which the internet reaches this machine")
		}
	}
	var err error
	if cfg.Secret, err = loadTURNSecret(c.secretFile, storage, log); err != nil {
		return nil, err
	}
	var certificate *certificates
	if c.certFile != "" {
		if certificate, err = newCertificates(c.certFile, c.keyFile, log); err != nil {
			return nil, err
		}
	} else if len(c.streams) > 0 {
		log.Warn("The TURN server has no TLS: proxies and firewalls that look inside may stop it; set --turn.tls-cert-file")
	}
	closeAll := func() {
		for _, l := range cfg.Listeners {
			_ = l.Close()
		}
		for _, p := range cfg.Packets {
			_ = p.Close()
		}
	}
	for _, addr := range c.streams {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			closeAll()
			return nil, fmt.Errorf("--turn.listen-address: %w", err)
		}
		if certificate != nil {
			l = tls.NewListener(l, &tls.Config{GetCertificate: certificate.get, MinVersion: tls.VersionTLS12})
		}
		cfg.Listeners = append(cfg.Listeners, l)
		log.Info("TURN server", "address", l.Addr().String(), "tls", certificate != nil, "public_ip", cfg.Public.String())
	}
	for _, addr := range c.packets {
		p, err := net.ListenPacket("udp4", addr)
		if err != nil {
			closeAll()
			return nil, fmt.Errorf("--turn.udp-listen-address: %w", err)
		}
		cfg.Packets = append(cfg.Packets, p)
		log.Info("TURN server", "address", p.LocalAddr().String(), "transport", "udp", "public_ip", cfg.Public.String())
	}
	s, err := turnserver.New(cfg)
	if err != nil {
		closeAll()
		return nil, err
	}
	return s, nil
}

// loadTURNSecret loads the secret of a TURN server, and creates it in the storage path if no file is named.
func loadTURNSecret(path, storage string, log *slog.Logger) (string, error) {
	if path == "" {
		path = filepath.Join(storage, turnSecretFile)
		made, err := keyfile.WriteOnce(path, "The secret of this dhtprom TURN server. Keep it secret.", keyfile.NewSecret().RevealText)
		if err = inStorage(path, made, err, log); err != nil {
			return "", err
		}
	}
	return readTURNSecret(path)
}

// minTURNSecret is the least length of a secret of a TURN server.
const minTURNSecret = 16

// readTURNSecret reads the first line that is no comment.
func readTURNSecret(path string) (string, error) {
	b, err := privatefile.Read(path, maxInvite)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			if len(line) < minTURNSecret {
				return "", fmt.Errorf("%s: want a secret of at least %d characters", path, minTURNSecret)
			}
			return line, nil
		}
	}
	return "", fmt.Errorf("%s: has no secret", path)
}

// certificates is a certificate on disk, which is read again when it has changed.
type certificates struct {
	certFile, keyFile string
	log               *slog.Logger
	read              atomic.Pointer[readCertificate]
}

type readCertificate struct {
	tls.Certificate
	at time.Time
}

// certificateAge is the age after which a certificate is read again.
const certificateAge = time.Minute

func newCertificates(certFile, keyFile string, log *slog.Logger) (*certificates, error) {
	c := &certificates{certFile: certFile, keyFile: keyFile, log: log}
	_, err := c.load()
	return c, err
}

func (c *certificates) load() (*readCertificate, error) {
	cert, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return nil, fmt.Errorf("--turn.tls-cert-file: %w", err)
	}
	r := &readCertificate{cert, time.Now()}
	c.read.Store(r)
	return r, nil
}

func (c *certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	r := c.read.Load()
	if time.Since(r.at) < certificateAge {
		return &r.Certificate, nil
	}
	again, err := c.load()
	if err != nil {
		c.log.Warn("The certificate of the TURN server cannot be read; the former one stays", "err", err)
		c.read.Store(&readCertificate{r.Certificate, time.Now()})
		return &r.Certificate, nil
	}
	return &again.Certificate, nil
}

// invitedServers returns the TURN servers of an invite with their credentials.
func (c inviteConfig) invitedServers() (list []domain.TURNServer, err error) {
	switch {
	case len(c.turn) == 0 && (c.turnCredentials != "" || c.turnSecret != ""):
		return nil, &cli.UsageError{Err: errors.New("there is no TURN server in the invite: set --turn")}
	case len(c.turn) == 0:
		return nil, nil
	case c.turnCredentials != "" && c.turnSecret != "":
		return nil, &cli.UsageError{Err: errors.New("--turn.credentials-file and --turn.secret-file exclude each other")}
	}
	var user, password string
	if c.turnCredentials != "" {
		if user, password, err = turnflags.Credentials(c.turnCredentials); err != nil {
			return nil, fmt.Errorf("--turn.credentials-file: %w", err)
		}
	} else {
		secret, err := readTURNSecret(cmp.Or(c.turnSecret, filepath.Join(c.storage, turnSecretFile)))
		if err != nil {
			return nil, fmt.Errorf("--turn.secret-file: %w", err)
		}
		user, password = turnserver.Credentials(secret, cmp.Or(c.identity, "invite"), time.Now().Add(c.turnValid))
	}
	for _, uri := range c.turn {
		list = append(list, domain.TURNServer{URI: uri, Username: user, Password: password})
	}
	return list, nil
}
