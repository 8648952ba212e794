package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	baseproto "github.com/hashicorp/nomad/plugins/base/proto"
	"github.com/hashicorp/nomad/plugins/drivers/proto"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
)

const (
	// Of the whole product, connected.
	idleMax     = 0.4 * 1024
	residentMax = 4.4 * 1024
	// Of what is written to for the first time then.
	burstLeavesMax = 90
	// Nothing tells when memory has been given back; a garbage collector has this long.
	afterBurst = 5 * time.Second

	nMessages    = 1000
	messageBytes = 1 << 20
	burstCallers = 16

	nWaiting    = 2000
	waitingMax  = 2048
	idleSeconds = 20
	// A start is over when its last timer is: ours looks once more after two seconds.
	afterStart = 5 * time.Second
)

// greeted launches both and greets them.
func (b *bench) greeted(ctx context.Context) ([nSides]*plugin, [nSides]*baseproto.PluginInfoResponse, error) {
	var infos [nSides]*baseproto.PluginInfoResponse
	plugins, err := b.pair()
	if err != nil {
		return plugins, infos, err
	}
	for side, p := range plugins {
		infos[side], err = p.greet(ctx)
		if err != nil {
			endAll(plugins)
			return plugins, infos, fmt.Errorf("%s: %w", b.paths[side], err)
		}
	}
	return plugins, infos, nil
}

func (b *bench) addMemory(when string, plugins [nSides]*plugin) (dirty [nSides]float64, err error) {
	var pss, rss [nSides]float64
	for side, p := range plugins {
		sizes, err := memory(p.pid())
		if err != nil {
			return dirty, err
		}
		dirty[side], pss[side], rss[side] = sizes["Private_Dirty"], sizes["Pss"], sizes["Rss"]
	}
	var dirtyLimits, rssLimits []budget
	if when == "idle" {
		dirtyLimits = append(dirtyLimits, budget{bound: idleMax})
		rssLimits = append(rssLimits, budget{bound: residentMax})
	}
	b.compare("private dirty memory, "+when, "KiB", dirty, dirtyLimits...)
	b.compare("proportional set size, "+when, "KiB", pss)
	b.compare("resident set size, "+when, "KiB", rss, rssLimits...)
	return dirty, nil
}

// bigCall sends a message of which the receiver knows nothing but that it has to be parsed.
func bigCall(p *plugin, padding []byte) error {
	request := &proto.CapabilitiesRequest{XXX_unrecognized: padding}
	_, err := p.driver.Capabilities(context.Background(), request)
	return err
}

func sendMany(p *plugin, padding []byte) error {
	errs := make([]error, burstCallers)
	var wait sync.WaitGroup
	for caller := range burstCallers {
		wait.Go(func() {
			for i := caller; i < nMessages && errs[caller] == nil; i += burstCallers {
				errs[caller] = bigCall(p, padding)
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// memories: idle, connected as an agent is, and after a burst of large messages.
func memories(b *bench) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	plugins, _, err := b.greeted(ctx)
	if err != nil {
		return err
	}
	defer endAll(plugins)
	before, err := b.addMemory("idle", plugins)
	if err != nil {
		return err
	}

	progress("%d messages of 1 MiB, %d at a time", nMessages, burstCallers)
	padding := protowire.AppendTag(nil, 1000, protowire.BytesType)
	padding = protowire.AppendBytes(padding, make([]byte, messageBytes))
	for _, p := range plugins {
		if err := sendMany(p, padding); err != nil {
			return err
		}
	}
	time.Sleep(afterBurst)
	after, err := b.addMemory("after the burst", plugins)
	if err != nil {
		return err
	}
	left := [nSides]float64{after[ours] - before[ours], after[theirs] - before[theirs]}
	b.table.add("private dirty memory that the burst leaves", "KiB", left, budget{bound: burstLeavesMax})
	return nil
}

// waitCalls asks for a task's end n times, without waiting for an answer. When it returns the plugin
// has them all: a later call of the same connection was answered.
func waitCalls(ctx context.Context, p *plugin, id string, n int) ([]grpc.ClientStream, error) {
	var streams []grpc.ClientStream
	for range n {
		stream, err := p.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true},
			waitTaskPath)
		if err != nil {
			return nil, err
		}
		if err := stream.SendMsg(&proto.WaitTaskRequest{TaskId: id}); err != nil {
			return nil, err
		}
		streams = append(streams, stream)
	}
	return streams, p.call(ctx)
}

// Calls of one plugin that wait for the end of the same task.
type waiters struct {
	task    *task
	streams []grpc.ClientStream
	each    float64 // bytes of private memory
}

func startWaiters(ctx context.Context, p *plugin, driver string) (w waiters, err error) {
	if w.task, err = startTask(ctx, p, driver); err != nil {
		return w, err
	}
	before, err := memory(p.pid())
	if err != nil {
		return w, err
	}
	if w.streams, err = waitCalls(ctx, p, w.task.id, nWaiting); err != nil {
		return w, err
	}
	after, err := memory(p.pid())
	w.each = (after["Private_Dirty"] - before["Private_Dirty"]) * 1024 / nWaiting
	return w, err
}

// waiting: calls that wait for a task's end, what each costs, and whether anything happens meanwhile.
func waiting(b *bench) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	plugins, infos, err := b.greeted(ctx)
	if err != nil {
		return err
	}
	defer endAll(plugins)

	var all [nSides]waiters
	var each [nSides]float64
	progress("%d calls that wait for a task's end", nWaiting)
	for side, p := range plugins {
		all[side], err = startWaiters(ctx, p, infos[side].Name)
		if all[side].task != nil {
			defer all[side].task.end()
		}
		each[side] = all[side].each
		if err != nil && side == theirs {
			progress("the peer has no task to wait for: %v", err)
			each[side] = math.NaN()
		} else if err != nil {
			return fmt.Errorf("%s: %w", b.paths[side], err)
		}
	}
	b.compare(fmt.Sprintf("private dirty memory a waiting call, of %d", nWaiting), "bytes", each,
		budget{bound: waitingMax})
	if err := idle(b, plugins); err != nil {
		return err
	}
	for side, w := range all {
		if w.streams == nil {
			continue
		}
		if err := w.task.stop(ctx, w.streams); err != nil {
			return fmt.Errorf("%s: %w", b.paths[side], err)
		}
	}
	return nil
}

// idle: how often a plugin wakes up while nobody asks it anything.
func idle(b *bench, plugins [nSides]*plugin) error {
	var before, woken [nSides]float64
	var err error
	progress("%d s in which nothing happens", idleSeconds)
	time.Sleep(afterStart)
	for side, p := range plugins {
		if before[side], err = wakeUps(p.pid()); err != nil {
			return err
		}
	}
	time.Sleep(idleSeconds * time.Second)
	for side, p := range plugins {
		after, err := wakeUps(p.pid())
		if err != nil {
			return err
		}
		woken[side] = after - before[side]
	}
	b.table.add(fmt.Sprintf("wake-ups in %d s idle, streams open", idleSeconds), "", woken, budget{bound: 0})
	return nil
}
