package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/nomad/plugins/drivers/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	nExecs         = 101
	nExecsAtOnce   = 200
	execMax        = 10  // ms
	execsLeaveMax  = 160 // KiB
	execBytes      = 1 << 30
	execChunkBytes = 64 << 10
)

func execTrue(p *plugin, id string) error {
	reply, err := p.driver.ExecTask(context.Background(), &proto.ExecTaskRequest{
		TaskId:  id,
		Command: []string{"/bin/true"},
		Timeout: durationpb.New(time.Minute),
	})
	if err == nil && (reply.GetResult().GetExitCode() != 0 || reply.GetResult().GetSignal() != 0) {
		err = fmt.Errorf("true ended with %v", reply.GetResult())
	}
	return err
}

// execs: commands in a task that runs.
func execs(b *bench) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	p, err := b.launchOurs(ctx, map[string]any{})
	if err != nil {
		return err
	}
	defer p.end()
	t, err := startTask(ctx, p, "nspawn")
	if err != nil {
		return err
	}
	defer t.end()
	if err := execsOneByOne(ctx, b, p, t); err != nil {
		return err
	}
	if err := execAtOnce(b, p, t); err != nil {
		return err
	}
	if err := execThroughput(ctx, b, p, t); err != nil {
		return err
	}
	return t.stop(ctx, nil)
}

// execsOneByOne: in turns with the peer where that is another build of ours, which has tasks of the same
// driver.
func execsOneByOne(ctx context.Context, b *bench, p *plugin, t *task) error {
	name := fmt.Sprintf("ExecTask of true, median of %d", nExecs)
	progress("%d times ExecTask of true", nExecs)
	if !b.isPeerOurs {
		took, err := execsInTurns([]*plugin{p}, []*task{t})
		if err == nil {
			b.table.addAlone(name, "ms", quantile(took[0], 0.5), budget{bound: execMax})
		}
		return err
	}
	peer, err := b.launchOne(ctx, theirs, map[string]any{})
	if err != nil {
		return err
	}
	defer peer.end()
	itsTask, err := startTask(ctx, peer, "nspawn")
	if err != nil {
		return err
	}
	defer itsTask.end()
	took, err := execsInTurns([]*plugin{p, peer}, []*task{t, itsTask})
	if err != nil {
		return err
	}
	b.compare(name, "ms", [nSides]float64{quantile(took[ours], 0.5), quantile(took[theirs], 0.5)},
		budget{bound: execMax})
	return itsTask.stop(ctx, nil)
}

// execsInTurns gives the sorted milliseconds of each.
func execsInTurns(plugins []*plugin, tasks []*task) ([][]float64, error) {
	took := make([][]float64, len(plugins))
	for range nExecs {
		for i, p := range plugins {
			start := time.Now()
			if err := execTrue(p, tasks[i].id); err != nil {
				return nil, err
			}
			took[i] = append(took[i], time.Since(start).Seconds()*1e3)
		}
	}
	for i := range took {
		slices.Sort(took[i])
	}
	return took, nil
}

func execAtOnce(b *bench, p *plugin, t *task) error {
	before, err := memory(p.pid())
	if err != nil {
		return err
	}
	progress("%d times ExecTask of true, at once", nExecsAtOnce)
	errs := make([]error, nExecsAtOnce)
	var wait sync.WaitGroup
	for i := range errs {
		wait.Go(func() { errs[i] = execTrue(p, t.id) })
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	time.Sleep(afterBurst)
	after, err := memory(p.pid())
	if err != nil {
		return err
	}
	b.table.addAlone(fmt.Sprintf("private dirty memory that %d execs at once leave", nExecsAtOnce), "KiB",
		after["Private_Dirty"]-before["Private_Dirty"], budget{bound: execsLeaveMax})
	return nil
}

// sendAll gives the command its input, and says what it was.
func sendAll(stream proto.Driver_ExecTaskStreamingClient, sum hash.Hash) error {
	chunk := make([]byte, execChunkBytes)
	for i := range chunk {
		chunk[i] = byte(i * 7)
	}
	for n := 0; n < execBytes; n += len(chunk) {
		chunk[n/len(chunk)%len(chunk)]++ // no two alike
		sum.Write(chunk)
		err := stream.Send(&proto.ExecTaskStreamingRequest{
			Stdin: &proto.ExecTaskStreamingIOOperation{Data: slices.Clone(chunk)},
		})
		if err != nil {
			return err
		}
	}
	return stream.Send(&proto.ExecTaskStreamingRequest{
		Stdin: &proto.ExecTaskStreamingIOOperation{Close: true},
	})
}

func receiveAll(stream proto.Driver_ExecTaskStreamingClient, sum hash.Hash) error {
	for {
		reply, err := stream.Recv()
		if err == io.EOF {
			return errors.New("the stream has ended without a result")
		}
		if err != nil {
			return err
		}
		sum.Write(reply.GetStdout().GetData())
		if reply.GetExited() {
			if code := reply.GetResult().GetExitCode(); code != 0 {
				return fmt.Errorf("cat ended with %d", code)
			}
			return nil
		}
	}
}

func catByExec(ctx context.Context, p *plugin, id string) error {
	stream, err := p.driver.ExecTaskStreaming(ctx)
	if err != nil {
		return err
	}
	err = stream.Send(&proto.ExecTaskStreamingRequest{
		Setup: &proto.ExecTaskStreamingRequest_Setup{TaskId: id, Command: []string{"/bin/cat"}},
	})
	if err != nil {
		return err
	}
	sent, received := sha256.New(), sha256.New()
	failed := make(chan error, 1)
	go func() { failed <- sendAll(stream, sent) }()
	if err := receiveAll(stream, received); err != nil {
		return err
	}
	if err := <-failed; err != nil {
		return err
	}
	if !slices.Equal(sent.Sum(nil), received.Sum(nil)) {
		return errors.New("what came back from cat is not what it was sent")
	}
	return nil
}

// execThroughput: what one exec moves there and back, intact; the peer is a shell's pipe.
func execThroughput(ctx context.Context, b *bench, p *plugin, t *task) error {
	mib := float64(execBytes) / (1 << 20)
	progress("%.0f MiB through an exec of cat", mib)
	start := time.Now()
	if err := catByExec(ctx, p, t.id); err != nil {
		return err
	}
	took := time.Since(start).Seconds()
	start = time.Now()
	pipe := fmt.Sprintf("head -c %d /dev/zero | cat | cat > /dev/null", execBytes)
	if out, err := exec.Command("sh", "-c", pipe).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", pipe, err, strings.TrimSpace(string(out)))
	}
	b.table.add("through an exec of cat and back (peer: cat | cat)", "MiB/s",
		[nSides]float64{mib / took, mib / time.Since(start).Seconds()})
	sizes, err := memory(p.pid())
	if err == nil {
		b.table.addAlone("private dirty memory after that", "KiB", sizes["Private_Dirty"])
	}
	return err
}
