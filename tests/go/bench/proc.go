package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// What /proc tells of a process with all its threads.

// memory is in KiB, by the names that the kernel uses.
func memory(pid int) (map[string]float64, error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	sizes := map[string]float64{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) != 3 || fields[2] != "kB" {
			continue
		}
		size, err := strconv.ParseFloat(fields[1], 64)
		if err != nil {
			return nil, err
		}
		sizes[strings.TrimSuffix(fields[0], ":")] = size
	}
	if len(sizes) == 0 {
		return nil, fmt.Errorf("no sizes in smaps_rollup of process %d", pid)
	}
	return sizes, nil
}

// ofThreads adds up what a file of each thread says.
func ofThreads(pid int, name string, read func(content string) (float64, error)) (float64, error) {
	paths, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/%s", pid, name))
	if err != nil || len(paths) == 0 {
		return 0, fmt.Errorf("no %s of process %d", name, pid)
	}
	sum := 0.0
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			return 0, err
		}
		n, err := read(string(content))
		if err != nil {
			return 0, fmt.Errorf("%s: %w", path, err)
		}
		sum += n
	}
	return sum, nil
}

// cpu is the time that the process has been on a processor.
func cpu(pid int) (time.Duration, error) {
	ns, err := ofThreads(pid, "schedstat", func(content string) (float64, error) {
		first, _, _ := strings.Cut(content, " ")
		return strconv.ParseFloat(first, 64)
	})
	return time.Duration(ns), err
}

// wakeUps counts how often the process has gone to sleep.
func wakeUps(pid int) (float64, error) {
	return ofThreads(pid, "status", func(content string) (float64, error) {
		_, after, found := strings.Cut(content, "\nvoluntary_ctxt_switches:")
		if !found {
			return 0, fmt.Errorf("no voluntary_ctxt_switches")
		}
		first, _, _ := strings.Cut(after, "\n")
		return strconv.ParseFloat(strings.TrimSpace(first), 64)
	})
}
