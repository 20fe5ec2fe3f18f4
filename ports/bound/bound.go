// Package bound limits what peers may cost a node. It has the row that describes one limit, for the table in
// docs/security.md, and the machines that hold limits.
package bound

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Bound is one limit on what peers may cost: a row of the table in docs/security.md. Packages return theirs from a function Bounds.
type Bound struct {
	// Name is the constant with the number, after the last element of its package's path: "hyperdht.maxSessions".
	Name string
	// What is limited, as a noun: "handshakes that have not become a connection".
	What string
	// Scope is for whom it is counted.
	Scope Scope
	// Limit is the number with its unit, made by Count, Bytes, Time or Rate.
	Limit Limit
	// Policy is what happens beyond the limit.
	Policy Policy
	// Reason is why the number is neither smaller nor larger.
	Reason string
	// Counter is the metric that counts what was refused or dropped, with its labels; "" where nothing is lost.
	Counter string
}

// Scope is for whom a bound is counted.
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

// Policy is what happens at a limit.
type Policy string

// The policies.
const (
	RefuseNew    Policy = "refuse the new one"
	DropNew      Policy = "drop the new one silently"
	DropOldest   Policy = "drop the oldest"
	DropFullest  Policy = "drop the oldest of the fullest share"
	DropNewest   Policy = "drop the newest of the fullest share"
	End          Policy = "end the connection"
	EndAttempt   Policy = "end the attempt"
	Wait         Policy = "wait"
	Ignore       Policy = "ignore the rest"
	Cut          Policy = "cut it"
	Forget       Policy = "do not remember it"
	AnswerFail   Policy = "answer with an error"
	CloseLimited Policy = "close it"
	CountOnly    Policy = "count it, and say so each minute"
)

// Limit is a number with its unit, as it stands in the table.
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

// Rate is what may come in a time after a burst.
func Rate(burst, n int, every time.Duration) Limit {
	return Limit(fmt.Sprintf("%d, then %d per %s", burst, n, strings.TrimPrefix(string(Time(every)), "1 ")))
}

// Table is the rows as a table in Markdown, in their order.
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
