// Package domain has dhtprom's rules: the form of keys, secrets and names, the changes of the alias table, the expiry of entries,
// the waits between attempts, and the events.
//
// Nothing here does I/O, reads a clock or draws randomness: times and random values are arguments.
//
// Terms: a client registers an alias with a scraper. An Entry is the scraper's record of that: the alias, the public key that its
// metrics are served under, hostname, service and times. A UID names one
// connection (or one attempt) in events, logs and error texts.
package domain
