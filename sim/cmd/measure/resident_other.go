//go:build !linux

package main

import "os"

// resident returns 0: the peak memory is unknown here.
func resident(*os.ProcessState) int64 { return 0 }
