package source

// RefuseLinkLocal is what looks at each address that a name leads to.
var RefuseLinkLocal = refuseLinkLocal

// NewTransport is how exporters are asked.
var NewTransport = newTransport
