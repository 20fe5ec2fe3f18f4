package jspeer

import "net/netip"

// Address is an address as peer.js prints it.
type Address struct {
	Host string `json:"host"`
	Port uint16 `json:"port"`
}

// AddrPort returns the address; it is invalid if the peer printed none.
func (a Address) AddrPort() netip.AddrPort {
	addr, err := netip.ParseAddr(a.Host)
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(addr, a.Port)
}

// AddressOf is the inverse of AddrPort.
func AddressOf(a netip.AddrPort) Address { return Address{Host: a.Addr().String(), Port: a.Port()} }

// Testnet is a private DHT in one process.
type Testnet struct {
	*Peer     `json:"-"`
	On        int       `json:"on"`
	Bootstrap []Address `json:"bootstrap"`
	Nodes     []Node    `json:"nodes"`
}

// StartTestnet starts a private DHT of size nodes on 127.0.0.1 in a peer. Below four nodes the packages fail to connect
// every other time, for lack of samples of their own address.
func StartTestnet(p *Peer, size int) *Testnet {
	p.t.Helper()
	net := &Testnet{Peer: p}
	p.Call("testnet", Args{"size": size}, net)
	return net
}

// DHT are the options of a node in the testnet, as the "dht" argument of commands.
func (tn *Testnet) DHT() Args { return Args{"bootstrap": tn.Bootstrap} }

// Node is a DHT node.
type Node struct {
	*Peer         `json:"-"`
	On            int       `json:"on"`
	PublicKey     string    `json:"publicKey"` // hex, of its default key pair
	ID            string    `json:"id"`        // hex, empty while it has none
	Address       Address   `json:"address"`
	RemoteAddress *Address  `json:"remoteAddress"`
	ServerPort    uint16    `json:"serverPort"`
	ClientPort    uint16    `json:"clientPort"`
	Firewalled    bool      `json:"firewalled"`
	Ephemeral     bool      `json:"ephemeral"`
	Nodes         []Address `json:"nodes"`
}

// StartNode adds a DHT node to a peer.
func StartNode(p *Peer, dht Args) *Node {
	p.t.Helper()
	n := &Node{Peer: p}
	p.Call("node", Args{"dht": dht}, n)
	return n
}

// Client is a dht-prom-client.
type Client struct {
	*Peer     `json:"-"`
	On        int    `json:"on"`
	PublicKey string `json:"publicKey"` // hex, under which it serves metrics
	NodeKey   string `json:"nodeKey"`   // hex, under which it registers
}

// StartClient adds a client to a peer; its first attempt to register has begun.
func StartClient(p *Peer, args Args) *Client {
	p.t.Helper()
	c := &Client{Peer: p}
	p.Call("client", args, c)
	return c
}

// Source changes the metrics that the client serves.
func (c *Client) Source(source Args) {
	c.t.Helper()
	args := Args{"on": c.On}
	for name, value := range source {
		args[name] = value
	}
	c.Call("source", args, nil)
}

// Scraper is an alias server with a scraper for each alias, as the bridge has.
type Scraper struct {
	*Peer     `json:"-"`
	On        int    `json:"on"`
	PublicKey string `json:"publicKey"` // hex
}

// StartScraper adds a scraper to a peer.
func StartScraper(p *Peer, args Args) *Scraper {
	p.t.Helper()
	s := &Scraper{Peer: p}
	p.Call("scraper", args, s)
	return s
}

// Scrape is the outcome of one request for metrics.
type Scrape struct {
	Success      bool   `json:"success"`
	Bytes        int    `json:"bytes"`
	SHA256       string `json:"sha256"` // hex, of the metrics
	Body         string `json:"body"`
	ErrorMessage string `json:"errorMessage"`
	Milliseconds int    `json:"ms"`
}

// Scrape requests the metrics of an alias, times in a row, and returns them with their bodies.
func (s *Scraper) Scrape(alias string, times int) ([]Scrape, error) {
	var result struct {
		Scrapes []Scrape `json:"scrapes"`
	}
	err := s.Try("scrape", Args{"on": s.On, "alias": alias, "times": times, "body": true}, &result)
	return result.Scrapes, err
}

// Alias is a registered alias.
type Alias struct {
	Alias     string `json:"alias"`
	Key       string `json:"key"` // hex
	Hostname  string `json:"hostname"`
	Service   string `json:"service"`
	Connected bool   `json:"connected"`
	Opens     int    `json:"opens"` // number of connections opened so far
}

// Aliases lists the aliases in the order of their first registration.
func (s *Scraper) Aliases() []Alias {
	s.t.Helper()
	var result struct {
		Aliases []Alias `json:"aliases"`
	}
	s.Call("aliases", Args{"on": s.On}, &result)
	return result.Aliases
}

// Channels describes the connection of a scraper to a client.
type Channels struct {
	Protocols []string `json:"protocols"` // of the scraper's channels
	Known     int      `json:"known"`     // protocols with a channel of either side
	Rejected  int      `json:"rejected"`  // channels of the client
	Requests  int      `json:"requests"`  // under way
	Handlers  int      `json:"handlers"`  // of the stream's events
}

// Channels describes the connection to the client of an alias.
func (s *Scraper) Channels(alias string) (c Channels) {
	s.t.Helper()
	s.Call("channels", Args{"on": s.On, "alias": alias}, &c)
	return c
}
