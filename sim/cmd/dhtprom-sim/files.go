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

// file is a file that is written to. A nil one is none.
type file struct {
	*bufio.Writer
	f *os.File
}

// opened makes a file; nil without a name.
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

// Close writes what is left.
func (f *file) Close() error {
	if f == nil {
		return nil
	}
	return errors.Join(f.Flush(), f.f.Close())
}

// named puts the scenario and the seed into the name of a file, where there is one for each of many runs.
func named(name string, o sim.Options, many bool) string {
	if name == "" || !many {
		return name
	}
	ext := filepath.Ext(name)
	return fmt.Sprintf("%s-%s-%d%s", strings.TrimSuffix(name, ext), o.Scenario, o.Seed, ext)
}

// profile begins to write profiles, as far as they are wanted; stop ends it.
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
