package exporter

// RefuseLinkLocal checks each address that a name resolves to.
var RefuseLinkLocal = refuseLinkLocal

// NewTransport returns the HTTP transport for requests to exporters.
var NewTransport = newTransport
