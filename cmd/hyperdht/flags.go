package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/alecthomas/kingpin/v2"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/adapters/stun"
	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/domain"
)

// nodeConfig has the values of the flags of a command's node.
type nodeConfig struct {
	node     dhtprom.NodeConfig
	seedFile string
}

type flags struct {
	app      *cli.App
	keygen   string // the file
	announce topicConfig
	lookup   topicConfig
	put      putConfig
	get      getConfig
	ping     pingConfig
	server   serverConfig
	client   clientConfig
	pipe     pipeConfig
}

// topicConfig has the values of the flags of announce and lookup.
type topicConfig struct {
	nodeConfig
	topic topic
}

// putConfig has the values of the flags of put.
type putConfig struct {
	nodeConfig
	value   *string // nil: that of the standard input
	mutable bool
	seq     *uint64 // nil: one more than that of the stored value
}

// getConfig has the values of the flags of get.
type getConfig struct {
	nodeConfig
	key     [domain.KeySize]byte
	mutable bool
}

// pingConfig has the values of the flags of ping.
type pingConfig struct {
	nodeConfig
	peer peer
}

const (
	seedHelp  = "File with the 32-byte seed of the key pair, as hyperdht keygen makes it. DHTPROM_IDENTITY_SEED takes the seed itself."
	topicHelp = "The topic: a name, which is hashed, or its hash as 64 hex digits or 52 z32 characters."
)

func newFlags(out io.Writer) *flags {
	f := &flags{app: cli.New(name, "Use HyperDHT from a shell: topics, records, and connections by public key, through NATs.", out)}
	keygen := f.app.Command("keygen", "Create a file with a new seed, and print its public key.")
	keygen.Arg("file", "File to create. It must not exist.").Required().SetValue(cli.Value("file", &f.keygen, cli.Text))

	announce := f.app.Command("announce", "Announce a key under a topic until interrupted, and then remove the announcement.")
	f.announce.addTopic(announce)
	f.announce.addIdentity(announce, seedHelp+" Required.")
	f.lookup.addTopic(f.app.Command("lookup", "Print the keys that are announced under a topic, each with the DHT nodes that lead to it."))

	f.addPut()
	f.addGet()
	f.addPing()
	f.addPipe()
	f.addTunnel()
	for command, example := range examples {
		f.app.Example(command, example)
	}
	return f
}

// examples are those in the help of each command.
var examples = map[string]string{
	"keygen":        "hyperdht keygen identity.seed",
	"announce":      "hyperdht announce 'weather stations' --identity.seed-file=identity.seed",
	"lookup":        "hyperdht lookup 'weather stations'",
	"put":           "hyperdht put --mutable --identity.seed-file=identity.seed 'sunny'",
	"get":           "hyperdht get --mutable tk4wr8tjxfb6ezn4skzmfhqpw8ayzagzkoku3y7n1ejoc6cyk86y",
	"pipe":          "hyperdht pipe <photos.tar",
	"tunnel":        "hyperdht tunnel server --identity.seed-file=identity.seed --target=127.0.0.1:22",
	"tunnel server": "hyperdht tunnel server --identity.seed-file=identity.seed --target=127.0.0.1:22",
	"tunnel client": "hyperdht tunnel client tk4wr8tjxfb6ezn4skzmfhqpw8ayzagzkoku3y7n1ejoc6cyk86y --listen-address=127.0.0.1:2222",
	"ping":          "hyperdht ping tk4wr8tjxfb6ezn4skzmfhqpw8ayzagzkoku3y7n1ejoc6cyk86y",
}

func (c *topicConfig) addTopic(cmd *kingpin.CmdClause) {
	cmd.Arg("topic", topicHelp).Required().SetValue(argument("topic", &c.topic, parseTopic))
	cli.DHTFlags(cmd, &c.node)
}

func (c *nodeConfig) addIdentity(cmd *kingpin.CmdClause, help string) {
	cmd.Flag("identity.seed-file", help).PlaceHolder("FILE").StringVar(&c.seedFile)
}

func (f *flags) addPut() {
	c, cfg := f.app.Command("put", "Store a value of up to 1,000 bytes in the DHT, for two days, and print its hash, or the key and the sequence number with --mutable."), &f.put
	c.Arg("value", "The value. Default: the standard input.").SetValue(argument("value", &cfg.value, func(s string) (*string, error) { return &s, nil }))
	c.Flag("mutable", "Store it under the key of --identity.seed-file, in place of the former value. Default: under its hash.").BoolVar(&cfg.mutable)
	c.Flag("seq", "Sequence number of a mutable value. A value replaces those with lower ones. Default: one more than that of the stored value.").
		PlaceHolder("N").SetValue(cli.Value("seq", &cfg.seq, parseSeq))
	cfg.addIdentity(c, seedHelp+" Required with --mutable.")
	cli.DHTFlags(c, &cfg.node)
}

func (f *flags) addGet() {
	c, cfg := f.app.Command("get", "Print a value that is stored in the DHT."), &f.get
	c.Arg("hash", "Hash of the value, as put printed it, or the public key with --mutable.").Required().SetValue(argument("hash", &cfg.key, parseHash))
	c.Flag("mutable", "Read the value under a public key.").BoolVar(&cfg.mutable)
	cli.DHTFlags(c, &cfg.node)
}

func (f *flags) addPing() {
	c, cfg := f.app.Command("ping", "Connect to a server by its public key, or ping a DHT node, and print path, round-trip time and address."), &f.ping
	c.Arg("peer", "Public key of a server, or IPv4 address and port of a DHT node.").Required().SetValue(argument("peer", &cfg.peer, parsePeer))
	cfg.addDial(c)
}

func (f *flags) addPipe() {
	c, cfg := f.app.Command("pipe", "Connect the standard input and output with those of another machine, as the npm package hyperbeam does. Without a passphrase, one is drawn and printed to the standard error, and this side listens."), &f.pipe
	c.Arg("passphrase", "Passphrase that the other side printed. Others on this machine can see it in the list of processes: "+passphraseEnv+" hides it.").
		SetValue(argument("passphrase", &cfg.seed, parsePassphrase))
	c.Flag("listen", "Listen under the passphrase: the side that drew it, when it is started again. Default: connect.").BoolVar(&cfg.listen)
	cfg.addRelay(c)
	cli.DHTFlags(c, &cfg.node)
}

func (f *flags) addTunnel() {
	tunnel := f.app.Command("tunnel", "Carry TCP connections to another machine, as the npm package hypertele does.")
	c, server := tunnel.Command("server", "Connect callers of a key to a target, and print the public key."), &f.server
	c.Flag("target", "TCP address or Unix socket to connect callers to.").Required().
		PlaceHolder("HOST:PORT").SetValue(cli.Value("target", &server.target, parseTarget))
	c.Flag("allow", "Public key of a client that may connect. Repeatable. Default: all.").
		PlaceHolder("KEY").SetValue(cli.List("allow", &server.allow, cli.Key))
	c.Flag("private", "Admit only clients that have the seed of --identity.seed-file, too, and run with --private.").BoolVar(&server.private)
	addMost(c, &server.most)
	server.addIdentity(c, seedHelp+" Required.")
	server.addRelay(c)
	cli.DHTFlags(c, &server.node)

	c, client := tunnel.Command("client", "Listen on an address of this machine, connect its callers to a tunnel server, and print the address."), &f.client
	c.Arg("key", "Public key of the server; none with --private.").SetValue(argument("key", &client.key, cli.Key))
	c.Flag("listen-address", "TCP address or Unix socket to listen on. Port 0 takes a free one. Those who reach it reach the target.").Required().
		PlaceHolder("HOST:PORT").SetValue(cli.Value("listen-address", &client.listen, parseEndpoint))
	c.Flag("private", "Connect to a private server, whose seed is that of --identity.seed-file.").BoolVar(&client.private)
	addMost(c, &client.most)
	client.addDial(c)
}

func addMost(c *kingpin.CmdClause, most *int) {
	c.Flag("max-connections", "Maximum number of connections at a time.").Default("1024").
		SetValue(cli.Value("max-connections", most, cli.Int(1, 1<<20)))
}

// addDial adds the flags of commands that dial.
func (c *nodeConfig) addDial(cmd *kingpin.CmdClause) {
	c.addIdentity(cmd, seedHelp+" Default: a new key.")
	c.addRelay(cmd)
	cli.DHTFlags(cmd, &c.node)
}

func (c *nodeConfig) addRelay(cmd *kingpin.CmdClause) {
	cmd.Flag("dht.relay", "Public key of a blind relay for connections that find no direct path; dhtprom-scraper relay runs one. With @HOST:PORT it is dialled there first. Repeatable.").
		PlaceHolder("KEY").SetValue(cli.List("dht.relay", &c.node.Relays, cli.Reference))
}

// argument returns a value for an argument, whose errors name it.
func argument[T any](name string, into *T, parse func(string) (T, error)) kingpin.Value {
	return argumentValue(func(s string) error {
		v, err := parse(s)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		*into = v
		return nil
	})
}

type argumentValue func(string) error

func (a argumentValue) Set(s string) error { return a(s) }
func (a argumentValue) String() string     { return "" }

func parseSeq(s string) (*uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("want a whole number from 0 on, got %q", s)
	}
	return &n, nil
}

// parse parses the arguments and checks what kingpin does not.
func (f *flags) parse(args []string) (command string, err error) {
	command, err = f.app.Parse(args)
	if errors.Is(err, cli.ErrHelpShown) {
		return "", err
	}
	if err == nil {
		err = f.check(command)
	}
	if err != nil {
		return "", &cli.UsageError{Err: err}
	}
	return command, nil
}

func (f *flags) check(command string) error {
	if command == "put" && f.put.seq != nil && !f.put.mutable {
		return errors.New("--seq is for mutable values: add --mutable")
	}
	if command == "get" && f.get.mutable {
		if err := cli.CheckKey(f.get.key); err != nil {
			return fmt.Errorf("hash: %w", err)
		}
	}
	if command == "tunnel server" && f.server.private && len(f.server.allow) > 0 {
		return errors.New("--allow cannot be combined with --private, which admits the server's own key alone")
	}
	if command == "tunnel client" && f.client.private != f.client.key.IsZero() {
		return errors.New("want the public key of the server, or --private with its seed in --identity.seed-file, and not both")
	}
	for _, c := range []nodeConfig{f.announce.nodeConfig, f.lookup.nodeConfig, f.put.nodeConfig, f.get.nodeConfig, f.ping.nodeConfig, f.server.nodeConfig, f.client.nodeConfig, f.pipe.nodeConfig} {
		if err := stun.CheckServers(c.node.STUN); err != nil {
			return fmt.Errorf("--stun.server: %w", err)
		}
	}
	return nil
}
