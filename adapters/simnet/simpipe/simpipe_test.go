package simpipe_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/adapters/simnet/simpipe"
	"github.com/dhtprom/dhtprom/ports/pipe"
	"github.com/dhtprom/dhtprom/ports/pipe/pipetest"
)

// server is the server's end of a pipe.
type server struct{ pipe.Pipe }

func (s server) Echo() {
	s.Handle(pipe.Handlers{OnReceive: s.Write, OnClose: func(error) {}})
}

func (s server) Stall() {}
func (s server) Break() { simpipe.Reset(s.Pipe) }

func TestPipesKeepTheContract(t *testing.T) {
	for name, cfg := range map[string]simpipe.Config{
		"fast": {},
		"slow": {RoundTrips: 1, Rate: 4 << 20, Window: 64 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			pipetest.Run(t, func(t *testing.T) pipetest.Rig {
				net := simnet.New(simnet.Config{Seed: 1, Link: simnet.Link{Delay: 20 * time.Millisecond}, Scribble: true})
				client := net.AddHost("client", netip.MustParseAddr("192.0.2.1"))
				far := net.AddHost("server", netip.MustParseAddr("192.0.2.2"))
				pipes := simpipe.New(net, cfg)
				var accepts []func(pipetest.Server)
				pipes.Listen(far, 443, func(p pipe.Pipe) {
					if len(accepts) == 0 {
						p.Close()
						return
					}
					f := accepts[0]
					accepts = accepts[1:]
					f(server{p})
				})
				return pipetest.Rig{
					Dialer:  pipes.Dialer(client, netip.MustParseAddrPort("192.0.2.2:443")),
					Refused: pipes.Dialer(client, netip.MustParseAddrPort("192.0.2.2:444")),
					Accept:  func(f func(pipetest.Server)) { accepts = append(accepts, f) },
					Await: func(t *testing.T, f func(done func())) {
						t.Helper()
						called := false
						client.Do(func() { f(func() { called = true }) })
						if !net.RunUntil(func() bool { return called }, time.Minute) {
							t.Fatal("nothing more happens and done was not called")
						}
					},
				}
			})
		})
	}
}

// open opens a pipe between two machines of a network.
func open(t *testing.T) (net *simnet.Net, pipes *simpipe.Network, client, far *simnet.Host, p pipe.Pipe, ended *error) {
	t.Helper()
	net = simnet.New(simnet.Config{Seed: 1, Link: simnet.Link{Delay: 10 * time.Millisecond}})
	client, far = net.AddHost("client", netip.MustParseAddr("192.0.2.1")), net.AddHost("server", netip.MustParseAddr("192.0.2.2"))
	pipes = simpipe.New(net, simpipe.Config{})
	pipes.Listen(far, 443, func(s pipe.Pipe) { server{s}.Echo() })
	ended = new(error)
	client.Do(func() {
		pipes.Dialer(client, netip.MustParseAddrPort("192.0.2.2:443")).Dial(func(opened pipe.Pipe, err error) {
			if p = opened; err != nil {
				t.Fatal(err)
			}
			p.Handle(pipe.Handlers{OnClose: func(err error) { *ended = err }})
		})
	})
	net.Run(time.Second)
	return net, pipes, client, far, p, ended
}

func TestCrashOfTheOtherEndIsNoticedWhenSomethingIsSent(t *testing.T) {
	net, _, client, far, p, ended := open(t)
	far.Crash()
	net.Run(time.Second)
	if *ended != nil {
		t.Fatalf("ended before anything was sent: %v", *ended)
	}
	client.Do(func() { p.Write([]byte("x")) })
	net.Run(time.Second)
	if *ended == nil {
		t.Error("still open")
	}
}

func TestCutNetworkIsNoticedAfterIt(t *testing.T) {
	net, pipes, client, _, p, ended := open(t)
	pipes.Cut(client)
	client.Do(func() { p.Write([]byte("x")) })
	net.Run(time.Minute)
	if *ended != nil {
		t.Fatalf("noticed: %v", *ended)
	}
	pipes.Join(client)
	net.Run(time.Second)
	if *ended == nil {
		t.Error("still open")
	}
}

// A machine that moves, and a blocked path, lose what is sent, and neither end notices; a NAT that passes no UDP is none of that.
func TestMovedMachinesLoseTheirPipes(t *testing.T) {
	for name, lose := range map[string]func(*simnet.Net, *simnet.Host, *simnet.Host){
		"moved":       func(_ *simnet.Net, client, _ *simnet.Host) { client.SetAddrs(netip.MustParseAddr("192.0.2.9")) },
		"server":      func(_ *simnet.Net, _, far *simnet.Host) { far.SetAddrs(netip.MustParseAddr("192.0.2.9")) },
		"blocked":     func(net *simnet.Net, client, far *simnet.Host) { net.Block(client, far) },
		"blocked, in": func(net *simnet.Net, client, far *simnet.Host) { net.Block(far, client) },
	} {
		net, _, client, far, p, ended := open(t)
		received := 0
		client.Do(func() {
			p.Handle(pipe.Handlers{OnReceive: func(b []byte) { received += len(b) }, OnClose: func(err error) { *ended = err }})
		})
		lose(net, client, far)
		client.Do(func() { p.Write([]byte("x")) })
		net.Run(time.Minute)
		if received > 0 || *ended != nil {
			t.Errorf("%s: %d bytes back, %v", name, received, *ended)
		}
	}
}

func TestPipesPassWhereUDPIsBlocked(t *testing.T) {
	net := simnet.New(simnet.Config{Seed: 1, Link: simnet.Link{Delay: 10 * time.Millisecond}})
	far := net.AddHost("server", netip.MustParseAddr("192.0.2.2"))
	client := net.AddRouter("router", simnet.UDPBlocked(), netip.Addr{}).AddHost("client", netip.MustParseAddr("192.0.2.1"))
	pipes := simpipe.New(net, simpipe.Config{Rate: 100_000, Window: 10_000})
	pipes.Listen(far, 443, func(s pipe.Pipe) { server{s}.Echo() })
	received, buffered := 0, 0
	client.Do(func() {
		pipes.Dialer(client, netip.MustParseAddrPort("192.0.2.2:443")).Dial(func(p pipe.Pipe, err error) {
			if err != nil {
				t.Fatal(err)
			}
			p.Handle(pipe.Handlers{OnReceive: func(b []byte) { received += len(b) }})
			p.Write(make([]byte, 50_000))
			buffered = p.Buffered()
		})
	})
	net.Run(400 * time.Millisecond)
	if buffered != 40_000 || received == 0 || received > 40_000 {
		t.Errorf("%d bytes buffered, %d back at a rate of 100 kB a second", buffered, received)
	}
	net.Run(time.Second)
	if received != 50_000 {
		t.Errorf("%d bytes back", received)
	}
}
