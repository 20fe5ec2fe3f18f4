package rpc

// testApp is an application made of functions. Those that are nil do nothing.
type testApp struct {
	noApplication
	request func(*Request)
	events  map[EventKind]func(Event)
}

func (a *testApp) Request(r *Request) {
	if a.request == nil {
		r.Unknown()
		return
	}
	a.request(r)
}

func (a *testApp) Event(v Event) {
	if f := a.events[v.Kind]; f != nil {
		f(v)
	}
}

// onEvent calls f with each event of a kind from now on, beside what is called already.
func (e *Endpoint) onEvent(kind EventKind, f func(Event)) {
	a := e.app.(*testApp)
	before := a.events[kind]
	a.events[kind] = func(v Event) {
		if before != nil {
			before(v)
		}
		f(v)
	}
}

// withApp gives a configuration without an application one for tests.
func withApp(cfg Config) Config {
	if cfg.App == nil {
		cfg.App = &testApp{}
	}
	if a, ok := cfg.App.(*testApp); ok && a.events == nil {
		a.events = make(map[EventKind]func(Event))
	}
	return cfg
}

// onRequest is an application that is called with requests only.
func onRequest(f func(*Request)) *testApp { return &testApp{request: f} }
