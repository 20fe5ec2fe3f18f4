package source

// RefuseLinkLocal is what looks at each address that a name leads to.
var RefuseLinkLocal = refuseLinkLocal
