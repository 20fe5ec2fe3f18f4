// Package unix listens on Unix sockets with a mode of their own.
package unix

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
)

// Prefix begins the addresses of Unix sockets: unix:/run/dhtprom/web.sock.
const Prefix = "unix:"

// Path returns the path in an address of a Unix socket, or reports that an address is of another kind.
func Path(address string) (path string, is bool) { return strings.CutPrefix(address, Prefix) }

// ErrUnsupported means that this system has no Unix sockets with a mode.
var ErrUnsupported = errors.New("unix sockets are not supported on " + runtime.GOOS + ": use a TCP address")

// InUseError reports a socket that another process listens on.
type InUseError struct {
	Path string
	PID  int // of that process; 0 if the system does not tell
}

func (e *InUseError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s is in use by another process", e.Path)
	}
	return fmt.Sprintf("%s is in use by process %d", e.Path, e.PID)
}

// Listener is a Unix socket. Close removes it.
type Listener struct {
	*net.UnixListener
	path string
	file os.FileInfo
	once sync.Once
}

// Listen listens on a socket with a mode, which it has from the first moment on. It replaces the socket of a process that was killed. It
// fails with an InUseError if a process listens there, and if path has something else than a socket.
func Listen(path string, mode os.FileMode) (*Listener, error) {
	if runtime.GOOS == "windows" {
		return nil, ErrUnsupported
	}
	if err := vacant(path); err != nil {
		return nil, err
	}
	// Bind gives a socket the mode that the umask leaves. So it is created where others cannot reach it, and moved. The umask is of the
	// process: a change of it would affect files of other goroutines.
	dir, err := os.MkdirTemp(filepath.Dir(path), ".s")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	hidden := filepath.Join(dir, "s")
	if longer := max(len(hidden), len(path)); longer > pathSize {
		return nil, fmt.Errorf("%s is too long for a Unix socket: want at most %d bytes, got %d", path, pathSize-(longer-len(path)), len(path))
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: hidden, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // it would remove the name before the move
	file, err := settle(hidden, path, mode)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &Listener{UnixListener: l, path: path, file: file}, nil
}

// settle gives a socket its mode and its place.
func settle(hidden, path string, mode os.FileMode) (os.FileInfo, error) {
	if err := os.Chmod(hidden, mode); err != nil {
		return nil, err
	}
	if err := os.Rename(hidden, path); err != nil {
		return nil, err
	}
	return os.Lstat(path)
}

// vacant returns an error unless there is nothing at path, or the socket of a process that has ended.
func vacant(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != os.ModeSocket:
		return fmt.Errorf("%s exists and is not a socket", path)
	}
	conn, err := net.Dial("unix", path)
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	return &InUseError{path, peer(conn.(*net.UnixConn))}
}

// pathSize is the room for the path of a socket, in bytes: sun_path of the system without its final zero.
var pathSize = len(syscall.RawSockaddrUnix{}.Path) - 1

// Addr returns the address of the socket, with its prefix.
func (l *Listener) Addr() net.Addr { return addr(l.path) }

type addr string

func (addr) Network() string  { return "unix" }
func (a addr) String() string { return Prefix + string(a) }

// Close stops listening and removes the socket, unless another process has replaced it.
func (l *Listener) Close() error {
	err := net.ErrClosed
	l.once.Do(func() {
		if now, failed := os.Lstat(l.path); failed == nil && os.SameFile(now, l.file) {
			_ = os.Remove(l.path)
		}
		err = l.UnixListener.Close()
	})
	return err
}

// Dial returns a function that connects to the socket at path, for http.Transport.
func Dial(path string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
}
