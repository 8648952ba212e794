package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/nomad/plugins/base"
	"github.com/hashicorp/nomad/plugins/drivers/proto"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
)

// A task that runs until it is stopped.
type task struct {
	plugin   *plugin
	id       string
	allocDir string
}

var nTasks int

// What a driver wants to know is its own; of others no task can be started.
var taskConfigs = map[string]map[string]any{
	"nspawn": {
		"image":     "busybox",
		"ephemeral": true,
		"boot":      false,
		"command":   []string{"/bin/sleep", "1000000"},
	},
	"mock_driver": {"run_for": "24h"},
}

func startTask(ctx context.Context, p *plugin, driver string) (*task, error) {
	config, known := taskConfigs[driver]
	if !known {
		return nil, fmt.Errorf("no task is known for a driver of the name %q", driver)
	}
	return startTaskWith(ctx, p, config, os.DevNull)
}

// startTaskWith has its output go to a file, or to a FIFO that somebody reads.
func startTaskWith(ctx context.Context, p *plugin, config map[string]any, stdout string) (*task, error) {
	var encoded []byte
	if err := base.MsgPackEncode(&encoded, config); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "bench-alloc-")
	if err != nil {
		return nil, err
	}
	t := &task{plugin: p, allocDir: dir}
	for _, sub := range []string{"alloc/logs", "bench/local", "bench/secrets"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o777); err != nil {
			return nil, err
		}
	}
	nTasks++
	allocID := fmt.Sprintf("00000000-0000-%04x-0000-%012x", nTasks, p.pid())
	t.id = allocID + "/bench/00000000"
	_, err = p.driver.StartTask(ctx, &proto.StartTaskRequest{Task: &proto.TaskConfig{
		Id:                  t.id,
		Name:                "bench",
		AllocId:             allocID,
		JobName:             "bench",
		TaskGroupName:       "bench",
		Namespace:           "default",
		AllocDir:            dir,
		StdoutPath:          stdout,
		StderrPath:          os.DevNull,
		MsgpackDriverConfig: encoded,
		Resources: &proto.Resources{
			AllocatedResources: &proto.AllocatedTaskResources{
				Cpu:    &proto.AllocatedCpuResources{CpuShares: 100},
				Memory: &proto.AllocatedMemoryResources{MemoryMb: 64},
			},
			LinuxResources: &proto.LinuxResources{},
		},
	}})
	if err != nil {
		t.end()
		return nil, fmt.Errorf("starting a task: %w", err)
	}
	return t, nil
}

// stop ends the task; each of the calls that waited for it is to be answered.
func (t *task) stop(ctx context.Context, waiting []grpc.ClientStream) error {
	inspected, err := t.plugin.driver.InspectTask(ctx, &proto.InspectTaskRequest{TaskId: t.id})
	if err != nil {
		return err
	}
	if state := inspected.GetTask().GetState(); state != proto.TaskState_RUNNING {
		return fmt.Errorf("the task did not run all the time, but is %s", state)
	}
	_, err = t.plugin.driver.StopTask(ctx, &proto.StopTaskRequest{
		TaskId:  t.id,
		Timeout: durationpb.New(0),
		Signal:  "SIGKILL",
	})
	if err != nil {
		return err
	}
	for i, stream := range waiting {
		reply := &proto.WaitTaskResponse{}
		if err := stream.RecvMsg(reply); err != nil {
			return fmt.Errorf("call %d that waited for the task: %w", i, err)
		}
	}
	_, err = t.plugin.driver.DestroyTask(ctx, &proto.DestroyTaskRequest{TaskId: t.id, Force: true})
	return err
}

func (t *task) end() { os.RemoveAll(t.allocDir) }
