//go:build !linux

package main

import "os"

// terminalWidth is how many characters a line may have, to be safe.
func terminalWidth(*os.File) int { return 80 }

// maxResident is not known here.
func maxResident() int64 { return 0 }
