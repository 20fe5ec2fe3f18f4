//go:build !unix

package tempfile

// NoFollow is 0: creating a symbolic link requires an administrator on Windows.
const NoFollow = 0
