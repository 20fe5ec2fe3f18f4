package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"

	"github.com/dhtprom/dhtprom/sim"
)

// file is an output file. A nil one discards.
type file struct {
	*bufio.Writer
	f *os.File
}

// opened creates a file; nil without a name.
func opened(name string) (*file, error) {
	if name == "" {
		return nil, nil
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	return &file{bufio.NewWriterSize(f, 1<<20), f}, nil
}

// Close flushes and closes the file.
func (f *file) Close() error {
	if f == nil {
		return nil
	}
	return errors.Join(f.Flush(), f.f.Close())
}

// named adds the scenario and the seed to the name of a file, where there is one for each of many runs.
func named(name string, o sim.Options, many bool) string {
	if name == "" || !many {
		return name
	}
	ext := filepath.Ext(name)
	return fmt.Sprintf("%s-%s-%d%s", strings.TrimSuffix(name, ext), o.Scenario, o.Seed, ext)
}

// profile starts the requested profiles; stop writes them.
func (set *settings) profile() (stop func() error, err error) {
	cpu, err := opened(set.cpuProfile)
	if err != nil {
		return nil, err
	}
	memory, err := opened(set.memoryProfile)
	if err != nil {
		return nil, errors.Join(err, cpu.Close())
	}
	if cpu != nil {
		if err := pprof.StartCPUProfile(cpu); err != nil {
			return nil, errors.Join(err, cpu.Close(), memory.Close())
		}
	}
	return func() error {
		pprof.StopCPUProfile()
		var err error
		if memory != nil {
			runtime.GC()
			err = pprof.Lookup("allocs").WriteTo(memory, 0)
		}
		return errors.Join(err, cpu.Close(), memory.Close())
	}, nil
}
