package main

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	nLaunches = 41
	// Rounds take turns, so that what else the machine does meets both sides.
	nRounds       = 10
	callsPerRound = 3200
)

func quantile(sorted []float64, q float64) float64 {
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}

// launches: from exec to the handshake line, and to the first reply.
func launches(b *bench) error {
	var toHandshake, toReply [nSides][]float64
	progress("%d launches of each", nLaunches)
	for range nLaunches {
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
	b.table.add("exec to handshake, median of "+strconv.Itoa(nLaunches), "ms", medians(toHandshake),
		&budget{max: 1.0 / 3, ofRatio: true})
	b.table.add("exec to first reply, median", "ms", medians(toReply), nil)
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
		b.table.add("unary call, p50"+by, "us", p50, nil)
		b.table.add("unary call, p99"+by, "us", p99, nil)
		b.table.add("processor time of the plugin a call"+by, "us", spent, nil)
	}
	return nil
}
