package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/hashicorp/nomad/plugins/drivers/proto"
	gproto "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
)

// What h2load and strace measure.

const (
	h2loadCalls = 40000
	// Counted twice, this many calls and three times as many: what a connection costs once falls out.
	countedCalls = 2000
	// The length of a gRPC message's prefix.
	prefixBytes = 5
)

var (
	h2loadRate  = regexp.MustCompile(`(?m)^finished in [^,]+, ([0-9.]+) req/s`)
	h2loadDone  = regexp.MustCompile(`(?m), ([0-9]+) succeeded, 0 failed, 0 errored`)
	h2loadBytes = regexp.MustCompile(`(?m)^traffic: .*\(([0-9]+)\) data$`)
)

func number(pattern *regexp.Regexp, text string) (float64, error) {
	match := pattern.FindStringSubmatch(text)
	if match == nil {
		return 0, fmt.Errorf("no %s in:\n%s", pattern, text)
	}
	return strconv.ParseFloat(match[1], 64)
}

// h2load makes n calls over a connection of its own, some at a time, and gives calls a second. That
// each was answered in full shows in the number of bytes; it doesn't read trailers.
func h2load(p *plugin, n, inFlight int) (float64, error) {
	reply, err := p.driver.Capabilities(context.Background(), &proto.CapabilitiesRequest{})
	if err != nil {
		return 0, err
	}
	body, err := os.CreateTemp("", "bench-body-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(body.Name())
	if _, err = body.Write(make([]byte, prefixBytes)); err != nil {
		return 0, err
	}
	body.Close()

	output, err := exec.Command("h2load", "-n", strconv.Itoa(n), "-c", "1", "-m", strconv.Itoa(inFlight),
		"-H", "content-type: application/grpc", "-H", "te: trailers", "--data="+body.Name(),
		"--base-uri=unix:"+p.socket, "http://localhost"+capabilitiesPath).CombinedOutput()
	text := string(output)
	if err != nil {
		return 0, fmt.Errorf("h2load: %w:\n%s", err, text)
	}
	done, err := number(h2loadDone, text)
	if err != nil {
		return 0, err
	}
	bytes, err := number(h2loadBytes, text)
	if err != nil {
		return 0, err
	}
	wanted := (prefixBytes + gproto.Size(protoadapt.MessageV2Of(reply))) * n
	if int(done) != n || int(bytes) != wanted {
		return 0, fmt.Errorf("h2load had %.0f answers of %d, with %.0f bytes of %d", done, n, bytes, wanted)
	}
	return number(h2loadRate, text)
}

// throughput: what the plugin can do when the client is not the limit.
func throughput(b *bench) error {
	plugins, err := b.pair()
	if err != nil {
		return err
	}
	defer endAll(plugins)
	for _, inFlight := range []int{1, 32} {
		var best [nSides]float64
		progress("h2load, %d in flight", inFlight)
		for range 3 {
			for side, p := range plugins {
				rate, err := h2load(p, h2loadCalls, inFlight)
				if err != nil {
					return err
				}
				best[side] = max(best[side], rate)
			}
		}
		b.compare(fmt.Sprintf("h2load, in flight: %d, best of 3", inFlight), "calls/s", best)
	}
	return nil
}

// countSyscalls counts those that the process makes while `during` runs.
func countSyscalls(pid int, during func() error) (float64, error) {
	summary, err := os.CreateTemp("", "bench-strace-")
	if err != nil {
		return 0, err
	}
	summary.Close()
	defer os.Remove(summary.Name())
	strace := exec.Command("strace", "-f", "-c", "-o", summary.Name(), "-p", strconv.Itoa(pid))
	stderr, err := strace.StderrPipe()
	if err != nil {
		return 0, err
	}
	if err := strace.Start(); err != nil {
		return 0, err
	}
	said := bufio.NewReader(stderr)
	line, err := said.ReadString('\n')
	if err != nil || !strings.Contains(line, "attached") {
		strace.Process.Kill()
		strace.Wait()
		return 0, fmt.Errorf("strace could not attach: %q", line)
	}
	go io.Copy(io.Discard, said)
	err = during()
	strace.Process.Signal(syscall.SIGINT)
	strace.Wait()
	if err != nil {
		return 0, err
	}
	content, err := os.ReadFile(summary.Name())
	if err != nil {
		return 0, err
	}
	return totalOf(string(content))
}

// The last line: "100.00  0.000000  0  29  1 total", where errors may be missing.
func totalOf(summary string) (float64, error) {
	for _, line := range strings.Split(summary, "\n") {
		fields := strings.Fields(line)
		if len(fields) >= 5 && fields[len(fields)-1] == "total" {
			return strconv.ParseFloat(fields[3], 64)
		}
	}
	return 0, fmt.Errorf("no total in strace's summary:\n%s", summary)
}

// syscallsPerCall: `calls` makes n calls.
func syscallsPerCall(pid int, calls func(n int) error) (float64, error) {
	few, err := countSyscalls(pid, func() error { return calls(countedCalls) })
	if err != nil {
		return 0, err
	}
	many, err := countSyscalls(pid, func() error { return calls(3 * countedCalls) })
	if err != nil {
		return 0, err
	}
	return (many - few) / (2 * countedCalls), nil
}

// syscalls: by calls that are all there is on the connection, and by a client in Go, which also sends
// a PING with most of them, to learn how large its window should be.
func syscalls(b *bench) error {
	plugins, err := b.pair()
	if err != nil {
		return err
	}
	defer endAll(plugins)
	var plain, byGo, busy [nSides]float64
	progress("system calls of %d calls", 3*countedCalls)
	for side, p := range plugins {
		plain[side], err = syscallsPerCall(p.pid(), func(n int) error {
			_, err := h2load(p, n, 1)
			return err
		})
		if err != nil {
			return err
		}
		busy[side], err = syscallsPerCall(p.pid(), func(n int) error {
			_, err := h2load(p, n, 32)
			return err
		})
		if err != nil {
			return err
		}
		byGo[side], err = syscallsPerCall(p.pid(), func(n int) error {
			_, err := callMany(p, 1, n)
			return err
		})
		if err != nil {
			return err
		}
	}
	b.compare("system calls a unary call, callers: 1", "", plain, budget{bound: 3})
	b.compare("system calls a unary call, callers: 32", "", busy)
	b.compare("system calls a unary call, a caller in Go", "", byGo)
	return nil
}
