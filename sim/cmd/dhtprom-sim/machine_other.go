//go:build !linux

package main

import "os"

// terminalWidth returns a number of characters that fits most terminals.
func terminalWidth(*os.File) int { return 80 }

// maxResident returns 0: the peak memory is unknown here.
func maxResident() int64 { return 0 }
