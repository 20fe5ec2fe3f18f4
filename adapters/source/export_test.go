package source

// RefuseLinkLocal is what looks at each address that a name leads to.
var RefuseLinkLocal = refuseLinkLocal

// NewTransport makes the HTTP transport for requests to exporters.
var NewTransport = newTransport
