package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/alecthomas/kingpin/v2"

	"github.com/dhtprom/dhtprom/adapters/web"
	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/privatefile"
	"github.com/dhtprom/dhtprom/keyfile"
)

// sharedIdentity is the word for the clients without an identity, in commands.
var sharedIdentity = domain.IdentityTitle(domain.SharedIdentity)

// identityConfig has the values of the flags of the identity commands.
type identityConfig struct {
	storage string
	name    string
	aliases []domain.AliasPattern
	labels  []labelFlag
}

// labelFlag is a label in a flag.
type labelFlag struct{ name, value string }

func parseLabelFlag(text string) (l labelFlag, err error) {
	name, value, ok := strings.Cut(text, "=")
	if !ok {
		return l, fmt.Errorf("want NAME=VALUE, got %q", text)
	}
	return labelFlag{name, value}, domain.CheckLabel(name, value)
}

func (f *flags) addIdentity() {
	c := f.app.Command("identity", "List, add and revoke the identities of clients: groups with a secret, aliases and labels of their own.")
	c.Flag("storage.path", "Folder of the scraper, as for run. The identities are in "+identitiesFile+" there; a running scraper reads it again.").
		Default("dhtprom-data").StringVar(&f.identity.storage)
	c.Command("list", "List the identities.")
	add := c.Command("add", "Add an identity with a new secret, or make the scraper's own secret valid again, as the identity "+sharedIdentity+". An invite for it is printed by dhtprom-scraper invite --identity=NAME.")
	revoke := c.Command("revoke", "Remove an identity. Its secret is not valid any more, and its aliases are removed. The identity "+sharedIdentity+" is that of the scraper's own secret: its aliases expire.")
	for _, command := range []interface {
		Arg(name, help string) *kingpin.ArgClause
	}{add, revoke} {
		command.Arg("name", "Name of the identity.").Required().SetValue(cli.Value("name", &f.identity.name, func(s string) (string, error) {
			if s == sharedIdentity {
				return s, nil
			}
			return s, domain.CheckIdentityName(s)
		}))
	}
	add.Flag("alias", "Pattern of aliases that the identity may register; an asterisk stands for any characters. Repeatable. Default: all.").
		PlaceHolder("PATTERN").SetValue(cli.List("alias", &f.identity.aliases, domain.ParseAliasPattern))
	add.Flag("label", "Label of the identity's targets in Prometheus. Repeatable.").
		PlaceHolder("NAME=VALUE").SetValue(cli.List("label", &f.identity.labels, parseLabelFlag))
}

// identities runs one of the identity commands.
func identities(ctx context.Context, command string, cfg identityConfig, stdout io.Writer, log *slog.Logger) error {
	if _, err := os.Stat(cfg.storage); err != nil {
		return fmt.Errorf("--storage.path: no folder %s: set the folder of the scraper", cfg.storage)
	}
	if command == "identity list" {
		set, err := readIdentities(cfg.storage, log)
		if err != nil {
			return err
		}
		return set.list(ctx, cfg, stdout)
	}
	done, err := changeIdentities(ctx, command, cfg, log)
	if err != nil {
		return err
	}
	read, err := reloadRunning(ctx, cfg.storage)
	if err != nil {
		return fmt.Errorf("%s; the running scraper has not read it: %w", done, err)
	}
	note := "The running scraper uses it."
	if !read {
		note = "No scraper runs with this folder on this machine; a scraper elsewhere reads it on SIGHUP."
	}
	_, err = fmt.Fprintf(stdout, "%s. %s\n", done, note)
	return err
}

// changeIdentities adds or revokes an identity, while no other command does.
func changeIdentities(ctx context.Context, command string, cfg identityConfig, log *slog.Logger) (done string, err error) {
	unlock, err := privatefile.Lock(ctx, filepath.Join(cfg.storage, identitiesFile))
	if err != nil {
		return "", err
	}
	defer unlock()
	set, err := readIdentities(cfg.storage, log)
	if err != nil {
		return "", err
	}
	if command == "identity add" {
		done, err = set.add(cfg)
	} else {
		done, err = set.revoke(cfg.name)
	}
	if err == nil {
		err = set.write(cfg.storage)
	}
	return done, err
}

// add adds an identity with a new secret.
func (s *identitySet) add(cfg identityConfig) (done string, err error) {
	switch {
	case cfg.name == sharedIdentity && len(cfg.aliases)+len(cfg.labels) > 0:
		return "", &cli.UsageError{Err: fmt.Errorf("the identity %s has no patterns and no labels", sharedIdentity)}
	case cfg.name == sharedIdentity:
		s.Shared = nil
		return "The scraper's own secret is valid", nil
	case s.index(cfg.name) >= 0:
		return "", fmt.Errorf("there is an identity %s already; revoke it first", cfg.name)
	}
	e := identityEntry{Name: cfg.name, ID: newIdentityID(), Secrets: secretList{keyfile.NewSecret()}, Aliases: cfg.aliases}
	for _, l := range cfg.labels {
		if e.Labels == nil {
			e.Labels = map[string]string{}
		}
		e.Labels[l.name] = l.value
	}
	s.Identities = append(s.Identities, e)
	return fmt.Sprintf("Added the identity %s; dhtprom-scraper invite --identity=%[1]s prints its invite", cfg.name), nil
}

// revoke removes an identity.
func (s *identitySet) revoke(name string) (done string, err error) {
	if name == sharedIdentity {
		s.Shared = new(bool)
		return "The scraper's own secret is not valid any more", nil
	}
	i := s.index(name)
	if i < 0 {
		return "", fmt.Errorf("there is no identity %s", name)
	}
	s.Identities = slices.Delete(s.Identities, i, i+1)
	return "Revoked the identity " + name, nil
}

// list prints the identities, with the number of aliases if the scraper runs.
func (s *identitySet) list(ctx context.Context, cfg identityConfig, stdout io.Writer) error {
	aliases := map[string]string{}
	if a := running(cfg.storage); a != nil {
		var now web.Identities
		if err := a.do(ctx, http.MethodGet, "identities", &now); err != nil {
			return err
		}
		for _, i := range now.Identities {
			aliases[domain.IdentityTitle(i.Name)] = strconv.Itoa(i.Aliases)
		}
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "IDENTITY\tMAY REGISTER\tLABELS\tALIASES\tSECRET")
	row := func(name, patterns, labels, secret string) {
		count := aliases[name]
		for _, cell := range []*string{&patterns, &labels, &count} {
			if *cell == "" {
				*cell = "-"
			}
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", name, patterns, labels, count, secret)
	}
	if s.shared() {
		row(sharedIdentity, "all", "", "the scraper's own")
	}
	for _, e := range s.Identities {
		patterns, labels, prints := "all", []string{}, []string{}
		if len(e.Aliases) > 0 {
			patterns = domain.Identity{Aliases: e.Aliases}.Patterns()
		}
		for _, name := range slices.Sorted(maps.Keys(e.Labels)) {
			labels = append(labels, name+"="+e.Labels[name])
		}
		for _, secret := range e.Secrets {
			prints = append(prints, secret.Fingerprint())
		}
		row(e.Name, patterns, strings.Join(labels, " "), strings.Join(prints, " "))
	}
	return w.Flush()
}

// running returns the API of the scraper that runs with a storage path on this machine; nil if there is none.
func running(storage string) *api {
	cfg := aliasConfig{storage: storage}
	if cfg.server().Scheme != "unix" {
		return nil
	}
	a, err := newAPI(cfg)
	if err != nil {
		return nil
	}
	return a
}

// reloadRunning makes the scraper that runs with a storage path on this machine read its files again. read is false if there is none.
func reloadRunning(ctx context.Context, storage string) (read bool, err error) {
	a := running(storage)
	if a == nil {
		return false, nil
	}
	return true, a.reload(ctx)
}

func newIdentityID() domain.IdentityID {
	var b [8]byte
	_, _ = rand.Read(b[:]) // crashes the program rather than fail
	return domain.IdentityID(binary.BigEndian.Uint64(b[:]))
}
