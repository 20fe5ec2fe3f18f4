package main

import (
	"errors"
	"strconv"
	"strings"

	"github.com/alecthomas/kingpin/v2"
)

// legacy has the settings in the environment of the JavaScript bridge (run.js of dht-prometheus and of
// hyperdht-prometheus-bridge), so that a scraper can replace a bridge without changes to its environment. Flags and DHTPROM_
// variables take precedence.
type legacy struct {
	names  map[string]string // the variable by its setting
	values map[string]string
	err    error
}

// The bridge's variables without their prefix; the older prefix is the second one.
var (
	legacyPrefixes = []string{"HYPERDHT_PROM_", "DHT_PROM_"}
	legacyNames    = []string{
		"KEY_PAIR_SEED", "SHARED_SECRET", "LOG_LEVEL", "HTTP_PORT", "HTTP_HOST", "PROMETHEUS_TARGETS_LOC", "DHT_PORT", "BOOTSTRAP_PORT",
	}
)

const (
	legacySeed    = "KEY_PAIR_SEED"
	legacySecret  = "SHARED_SECRET"
	legacyTargets = "./prometheus/targets.json" // the bridge's default
)

func legacyFromEnv(getenv func(string) string) *legacy {
	l := &legacy{names: map[string]string{}, values: map[string]string{}}
	for _, name := range legacyNames {
		for _, prefix := range legacyPrefixes {
			if v := getenv(prefix + name); v != "" && l.values[name] == "" {
				l.names[name], l.values[name] = prefix+name, v
			}
		}
	}
	return l
}

// used reports whether the environment is that of a bridge.
func (l *legacy) used() bool { return len(l.values) > 0 }

// setDefaults makes the bridge's settings the defaults of the flags.
func (l *legacy) setDefaults(run *kingpin.CmdClause) {
	if !l.used() {
		return
	}
	port := l.port("HTTP_PORT", "30000")
	host := l.values["HTTP_HOST"]
	if host == "" {
		host = "127.0.0.1"
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	run.GetFlag("web.listen-address").Default(host + ":" + port)
	if p := l.port("DHT_PORT", ""); p != "" {
		run.GetFlag("dht.listen-address").Default("0.0.0.0:" + p)
	}
	if p := l.port("BOOTSTRAP_PORT", ""); p != "" {
		run.GetFlag("dht.bootstrap").Default(p)
	}
	targets := l.values["PROMETHEUS_TARGETS_LOC"]
	if targets == "" {
		targets = legacyTargets
	}
	run.GetFlag("targets.file").Default(targets)
}

// logLevel returns the bridge's level by its name here; empty when it has none.
func (l *legacy) logLevel() string {
	switch level := strings.ToLower(l.values["LOG_LEVEL"]); level {
	case "", "debug", "info", "warn", "error":
		return level
	case "trace":
		return "debug"
	case "fatal", "silent":
		return "error"
	default:
		l.err = errors.New(l.names["LOG_LEVEL"] + ": want trace, debug, info, warn, error or fatal, got " + strconv.Quote(level))
		return ""
	}
}

func (l *legacy) port(name, fallback string) string {
	v := l.values[name]
	if v == "" {
		return fallback
	}
	if _, err := strconv.ParseUint(v, 10, 16); err != nil {
		l.err = errors.New(l.names[name] + ": want a port number, got " + strconv.Quote(v))
		return fallback
	}
	return v
}
