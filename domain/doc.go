// Package domain holds dhtprom's rules: what a key, a secret and a name are, how the alias table changes,
// when an entry expires, how long to wait before trying again, and what is worth telling.
//
// Nothing here does I/O, reads a clock or draws randomness: times and random values are arguments.
//
// Words: a client registers an alias with a scraper. An Entry is what the scraper remembers of that: the
// alias, the public key its metrics are served under, hostname, service and times. A UID names one
// connection (or one attempt) in events, logs and error texts.
package domain
