//go:build !unix

package privatefile

import "os"

// ownAsFolder does nothing: files of Windows inherit the permissions of their folder.
func ownAsFolder(*os.File) error { return nil }
