//go:build !linux && !darwin && !dragonfly && !freebsd && !netbsd && !openbsd

package udp

// defaultRoutes lists no routes: they are not known on this system.
func defaultRoutes() []defaultRoute { return nil }
