//go:build !unix

package targets

// noFollow is nothing here: making a symbolic link takes an administrator on Windows.
const noFollow = 0
