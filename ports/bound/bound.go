// Package bound limits the resources that peers can use on a node. It has the description of one limit, for the table in
// docs/security.md, and the data structures that enforce limits.
package bound

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Bound is one limit on resources used by peers: a row of the table in docs/security.md. Packages return their bounds from a function
// Bounds.
type Bound struct {
	// Name is the constant with the number, after the last element of its package's path: "hyperdht.maxSessions".
	Name string
	// What is the limited resource, as a noun: "handshakes that have not become a connection".
	What string
	// Scope is the unit that it is counted for.
	Scope Scope
	// Limit is the number with its unit, from Count, Bytes, Time or Rate.
	Limit Limit
	// Policy is the action at the limit.
	Policy Policy
	// Reason explains why the number is neither smaller nor larger.
	Reason string
	// Counter is the metric that counts rejections or drops, with its labels; "" where nothing is lost.
	Counter string
}

// Scope is the unit that a bound is counted for.
type Scope string

// The scopes, from the smallest to the largest.
const (
	PerPacket     Scope = "packet or message"
	PerConnection Scope = "connection"
	PerAttempt    Scope = "attempt"
	PerSender     Scope = "UDP sender"
	PerSocket     Scope = "address and port"
	PerAddress    Scope = "address"
	PerNetwork    Scope = "network (/24, /48)"
	PerProven     Scope = "proven address"
	PerKey        Scope = "static key"
	PerAlias      Scope = "alias"
	InAll         Scope = "in all"
)

// Policy is the action at a limit.
type Policy string

// The policies.
const (
	RefuseNew    Policy = "reject the new one"
	DropNew      Policy = "drop the new one silently"
	DropOldest   Policy = "drop the oldest"
	DropFullest  Policy = "drop the oldest of the fullest share"
	DropNewest   Policy = "drop the newest of the fullest share"
	End          Policy = "close the connection"
	EndAttempt   Policy = "cancel the attempt"
	Wait         Policy = "wait"
	Ignore       Policy = "ignore the rest"
	Cut          Policy = "truncate it"
	Forget       Policy = "do not remember it"
	AnswerFail   Policy = "answer with an error"
	CloseLimited Policy = "close it"
	CountOnly    Policy = "count it, and log the number each minute"
)

// Limit is a number with its unit, as shown in the table.
type Limit string

// Count is a number of things.
func Count(n int) Limit { return Limit(strconv.Itoa(n)) }

// Bytes is a size in bytes.
func Bytes(n int) Limit {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return Limit(fmt.Sprintf("%d MiB", n>>20))
	case n >= 1<<10 && n%(1<<10) == 0:
		return Limit(fmt.Sprintf("%d KiB", n>>10))
	}
	return Limit(fmt.Sprintf("%d bytes", n))
}

// Time is a duration.
func Time(d time.Duration) Limit {
	switch {
	case d >= time.Hour && d%time.Hour == 0:
		return Limit(fmt.Sprintf("%d h", d/time.Hour))
	case d >= time.Minute && d%time.Minute == 0:
		return Limit(fmt.Sprintf("%d min", d/time.Minute))
	case d%time.Second == 0:
		return Limit(fmt.Sprintf("%d s", d/time.Second))
	}
	return Limit(fmt.Sprintf("%d ms", d.Milliseconds()))
}

// Rate is a burst and the rate after it.
func Rate(burst, n int, every time.Duration) Limit {
	return Limit(fmt.Sprintf("%d, then %d per %s", burst, n, strings.TrimPrefix(string(Time(every)), "1 ")))
}

// Table formats the rows as a table in Markdown, in their order.
func Table(rows []Bound) string {
	var b strings.Builder
	b.WriteString("| What | For each | Limit | Beyond it | Why | Counter |\n|---|---|---|---|---|---|\n")
	for _, r := range rows {
		counter := ""
		if r.Counter != "" {
			counter = "`" + r.Counter + "`"
		}
		fmt.Fprintf(&b, "| %s (`%s`) | %s | %s | %s | %s | %s |\n", r.What, r.Name, r.Scope, r.Limit, r.Policy, r.Reason, counter)
	}
	return b.String()
}
