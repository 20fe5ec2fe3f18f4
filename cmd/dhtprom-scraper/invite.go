package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"rsc.io/qr"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/cmd/internal/turnflags"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/privatefile"
)

// inviteConfig has the values of the flags of invite.
type inviteConfig struct {
	storage     string
	seedFile    string
	secretFiles []string
	bootstrap   []string
	relays      []domain.Reference
	addrs       []domain.Address
	qr          string
	output      string
	identity    string
	legacy      *legacy

	turn            []string
	turnCredentials string
	turnSecret      string
	turnValid       time.Duration
}

func (f *flags) addInvite() {
	f.invite.legacy = f.run.legacy
	c := f.app.Command("invite", "Print an invite: one string with all that a client needs to register here, the secret included. dhtprom-client reads it with --invite-file.")
	c.Flag("storage.path", "Folder of the scraper's seed and secret, as for run.").Default("dhtprom-data").StringVar(&f.invite.storage)
	c.Flag("identity.seed-file", "File with the scraper's seed, as for run.").PlaceHolder("FILE").StringVar(&f.invite.seedFile)
	c.Flag("secret-file", "File with the scraper's secret, as for run. Of several, the invite has the first.").
		PlaceHolder("FILE").SetValue(cli.List("secret-file", &f.invite.secretFiles, cli.Text))
	c.Flag("dht.bootstrap", "Bootstrap node of the scraper's private network, as clients reach it. Repeatable. Default: the public network.").
		PlaceHolder("HOST:PORT").SetValue(cli.List("dht.bootstrap", &f.invite.bootstrap, cli.Bootstrap))
	c.Flag("dht.relay", "Public key of a blind relay for clients to use. With @HOST:PORT they dial it there first. Repeatable.").
		PlaceHolder("KEY").SetValue(cli.List("dht.relay", &f.invite.relays, cli.Reference))
	c.Flag("dht.public-address", "Address at which clients reach the scraper without the DHT, as for run. Repeatable, twice at most. Default: that of the scraper that runs with the storage path, if it has one of its own.").
		PlaceHolder("HOST:PORT").SetValue(cli.List("dht.public-address", &f.invite.addrs, cli.PublicAddress))
	c.Flag("turn", "TURN server for clients in networks without UDP, as turns:HOST:443. Repeatable.").
		PlaceHolder("URI").SetValue(cli.List("turn", &f.invite.turn, turnflags.Server))
	c.Flag("turn.secret-file", "File with the secret of the TURN server, from which the credentials in the invite are made. Default: turn.secret in the storage path.").
		PlaceHolder("FILE").SetValue(cli.Value("turn.secret-file", &f.invite.turnSecret, cli.Text))
	c.Flag("turn.valid", "Lifetime of these credentials.").Default("8760h").SetValue(cli.Value("turn.valid", &f.invite.turnValid, cli.Duration(time.Minute)))
	c.Flag("turn.credentials-file", "File with user and password for the TURN server, each on a line, in place of --turn.secret-file.").
		PlaceHolder("FILE").SetValue(cli.Value("turn.credentials-file", &f.invite.turnCredentials, cli.Text))
	c.Flag("output", "File to write the invite to, readable by its owner only, instead of printing it. Replaces an older invite, and no other file.").
		PlaceHolder("FILE").SetValue(cli.Value("output", &f.invite.output, cli.Text))
	c.Flag("identity", "Identity that the invite is for, as dhtprom-scraper identity list shows it. Default: the scraper's own secret.").
		PlaceHolder("NAME").SetValue(cli.Value("identity", &f.invite.identity, func(s string) (string, error) { return s, domain.CheckIdentityName(s) }))
	c.Flag("qr", "Print a QR code, too. One of: auto (on a terminal), always, never.").Default("auto").
		SetValue(cli.Value("qr", &f.invite.qr, func(s string) (string, error) {
			if s != "auto" && s != "always" && s != "never" {
				return "", fmt.Errorf("want auto, always or never, got %q", s)
			}
			return s, nil
		}))
}

// invite prints an invite on a line of its own, so that the output can be a file for clients, and instructions on a terminal.
func invite(cfg inviteConfig, stdout io.Writer, log *slog.Logger) error {
	if err := cfg.checkStorage(slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	id, err := loadIdentity(runConfig{storage: cfg.storage, seedFile: cfg.seedFile, secretFiles: cfg.secretFiles, legacy: cfg.legacy}, log)
	if err != nil {
		return err
	}
	for _, b := range cfg.bootstrap {
		if host, _, err := net.SplitHostPort(b); err == nil && isLoopback(host) {
			log.Warn("The bootstrap node is reachable from this machine only, and so the invite works here only", "node", b)
		}
	}
	secret, allows, err := id.secretOf(cfg.identity)
	if err != nil {
		return err
	}
	servers, err := cfg.invitedServers()
	if err != nil {
		return err
	}
	addrs, err := cfg.invitedAddresses(log)
	if err != nil {
		return err
	}
	text, err := domain.Invite{Scraper: id.keys.Public, Secret: secret, Bootstrap: cfg.bootstrap, Relays: cfg.relays, Addrs: addrs, TURN: servers}.Reveal()
	if err != nil {
		return &cli.UsageError{Err: fmt.Errorf("the invite %w", err)}
	}
	if cfg.output != "" {
		return saveInvite(cfg.output, text, allows, stdout)
	}
	terminal := cli.IsTerminal(stdout)
	if _, err := fmt.Fprintln(stdout, text); err != nil {
		return err
	}
	if cfg.qr == "always" || cfg.qr == "auto" && terminal {
		// Upper case has the same meaning and fits a denser encoding of QR codes.
		code, err := qr.Encode(strings.ToUpper(text), qr.M)
		if err != nil {
			return fmt.Errorf("QR code: %w", err)
		}
		if _, err := io.WriteString(stdout, "\n"+drawQR(code)); err != nil {
			return err
		}
	}
	if terminal {
		_, err = fmt.Fprintf(stdout, `
The invite allows its holder to register %s here: treat it as a password. On a client's machine:

  umask 077; cat > invite           paste it, Enter, Ctrl-D
  dhtprom-client --invite-file=invite --target=NAME=http://localhost:9100/metrics
`, allows)
	}
	return err
}

// maxInvite bounds the file of an invite, in bytes: that of any other kind is not replaced.
const maxInvite = 64 << 10

// saveInvite writes an invite to a file.
func saveInvite(path, text, allows string, stdout io.Writer) error {
	err := privatefile.Replace(path, privatefile.Content{Text: text + "\n", Limit: maxInvite}, func(old []byte) bool {
		_, err := domain.ParseInvite(string(old))
		return err == nil
	})
	if err != nil {
		return fmt.Errorf("--output: %w", err)
	}
	_, err = fmt.Fprintf(stdout, "Created %s. It allows its holder to register %s here: treat it as a password.\n", path, allows)
	return err
}

// checkStorage reports an error where run would create a seed or a secret: such an invite would lead to no scraper.
func (c *inviteConfig) checkStorage(log *slog.Logger) error {
	old := func(name string) bool { return c.legacy != nil && c.legacy.values[name] != "" }
	set, err := readIdentities(c.storage, log)
	if err != nil {
		return err
	}
	need := map[string]bool{
		"identity.seed": c.seedFile == "" && os.Getenv(seedEnv) == "" && !old(legacySeed),
		"secret":        set.shared() && len(c.secretFiles) == 0 && os.Getenv(secretEnv) == "" && !old(legacySecret),
	}
	for _, name := range []string{"identity.seed", "secret"} {
		path := filepath.Join(c.storage, name)
		if _, err := os.Stat(path); need[name] && errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("--storage.path: no %s: no scraper has run with this folder yet; set the folder of the scraper, or start it once", path)
		}
	}
	return nil
}

func isLoopback(host string) bool {
	if _, name, both := strings.Cut(host, "@"); both {
		host = name
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// quiet is the width of the empty border of a QR code, in modules.
const quiet = 4

// drawQR draws a code in text, two modules per character, black on white with any colours of the terminal.
func drawQR(c *qr.Code) string {
	black := func(x, y int) bool {
		x, y = x-quiet, y-quiet
		return x >= 0 && y >= 0 && x < c.Size && y < c.Size && c.Black(x, y)
	}
	blocks := map[[2]bool]string{{false, false}: " ", {true, false}: "▀", {false, true}: "▄", {true, true}: "█"}
	var out strings.Builder
	size := c.Size + 2*quiet
	for y := 0; y < size; y += 2 {
		out.WriteString("\x1b[38;5;16;48;5;231m")
		for x := range size {
			out.WriteString(blocks[[2]bool{black(x, y), black(x, y+1)}])
		}
		out.WriteString("\x1b[0m\n")
	}
	return out.String()
}
