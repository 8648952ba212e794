package main

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	nLaunches  = 41
	programMax = 1024 // KiB, with all that is linked in
	// Rounds take turns, so that what else the machine does meets both sides.
	nRounds       = 10
	callsPerRound = 3200
)

func quantile(sorted []float64, q float64) float64 {
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}

// launchEcho: from exec to the line of a program that does nothing else.
func launchEcho() (time.Duration, error) {
	cmd := exec.Command("/bin/echo", "hello")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	_, err = bufio.NewReader(stdout).ReadString('\n')
	took := time.Since(start)
	return took, errors.Join(err, cmd.Wait())
}

// sizes: of the programs as files.
func sizes(b *bench) error {
	var kib [nSides]float64
	for side, path := range b.paths {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		kib[side] = float64(info.Size()) / 1024
	}
	b.table.add("size of the program", "KiB", kib, budget{bound: programMax})
	return nil
}

// launches: from exec to the handshake line, and to the first reply.
func launches(b *bench) error {
	var toHandshake, toReply [nSides][]float64
	var toEcho []float64
	progress("%d launches of each", nLaunches)
	for range nLaunches {
		echo, err := launchEcho()
		if err != nil {
			return err
		}
		toEcho = append(toEcho, echo.Seconds()*1e3)
		for side, path := range b.paths {
			start := time.Now()
			p, err := launch(path)
			if err != nil {
				return err
			}
			err = p.call(context.Background())
			reply := time.Since(start)
			p.end()
			if err != nil {
				return err
			}
			toHandshake[side] = append(toHandshake[side], p.toHandshake.Seconds()*1e3)
			toReply[side] = append(toReply[side], reply.Seconds()*1e3)
		}
	}
	handshake := medians(toHandshake)
	slices.Sort(toEcho)
	b.compare("exec to handshake, median of "+strconv.Itoa(nLaunches), "ms", handshake,
		budget{bound: 1.0 / 6, ofRatio: true})
	b.table.add("exec to handshake, median (peer: echo's line)", "ms",
		[nSides]float64{handshake[ours], quantile(toEcho, 0.5)},
		budget{bound: 2, ofRatio: true})
	b.compare("exec to first reply, median", "ms", medians(toReply))
	return nil
}

func medians(samples [nSides][]float64) (out [nSides]float64) {
	for side := range samples {
		slices.Sort(samples[side])
		out[side] = quantile(samples[side], 0.5)
	}
	return out
}

// callMany makes n calls by as many callers as there are, and gives the microseconds of each.
func callMany(p *plugin, callers, n int) ([]float64, error) {
	took := make([]float64, n)
	errs := make([]error, callers)
	var wait sync.WaitGroup
	for caller := range callers {
		wait.Go(func() {
			for i := caller; i < n && errs[caller] == nil; i += callers {
				start := time.Now()
				errs[caller] = p.call(context.Background())
				took[i] = time.Since(start).Seconds() * 1e6
			}
		})
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return took, nil
}

// latency: of a unary call by a client in Go, and what it costs the plugin.
func latency(b *bench) error {
	plugins, err := b.pair()
	if err != nil {
		return err
	}
	defer endAll(plugins)
	for _, callers := range []int{1, 32} {
		var took [nSides][]float64
		var spent [nSides]float64
		progress("%d calls, by %d at a time", nRounds*callsPerRound, callers)
		for round := range nRounds + 1 {
			for side, p := range plugins {
				before, err := cpu(p.pid())
				if err != nil {
					return err
				}
				sample, err := callMany(p, callers, callsPerRound)
				if err != nil {
					return err
				}
				after, err := cpu(p.pid())
				if err != nil {
					return err
				}
				if round == 0 { // warms up
					continue
				}
				took[side] = append(took[side], sample...)
				spent[side] += (after - before).Seconds() * 1e6 / (nRounds * callsPerRound)
			}
		}
		var p50, p99 [nSides]float64
		for side := range took {
			slices.Sort(took[side])
			p50[side], p99[side] = quantile(took[side], 0.5), quantile(took[side], 0.99)
		}
		by := ", callers: " + strconv.Itoa(callers)
		b.compare("unary call, p50"+by, "us", p50)
		b.table.add("unary call, p99"+by, "us", p99)
		b.compare("processor time of the plugin a call"+by, "us", spent)
	}
	return nil
}
