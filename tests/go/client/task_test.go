package client

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	hclog "github.com/hashicorp/go-hclog"
	"github.com/hashicorp/nomad/client/allocdir"
	"github.com/hashicorp/nomad/client/lib/fifo"
	"github.com/hashicorp/nomad/helper/pluginutils/hclspecutils"
	"github.com/hashicorp/nomad/helper/pluginutils/hclutils"
	"github.com/hashicorp/nomad/helper/uuid"
	"github.com/hashicorp/nomad/nomad/structs"
	"github.com/hashicorp/nomad/plugins/drivers"
	"github.com/hashicorp/nomad/plugins/drivers/fsisolation"
	"github.com/zclconf/go-cty/cty"
)

const taskName = "main"

// One stream of a task's output, read as Nomad's log collector reads it: to the end of file.
type output struct {
	lines chan string
	whole chan string
}

func collect(t *testing.T, path string) *output {
	t.Helper()
	open, err := fifo.CreateAndRead(path)
	must(t, err)
	out := &output{make(chan string, 100), make(chan string, 1)}
	go func() {
		reader, err := open()
		if err != nil {
			out.whole <- err.Error()
			return
		}
		defer reader.Close()
		var all, line bytes.Buffer
		chunk := make([]byte, 4096)
		for {
			n, err := reader.Read(chunk)
			all.Write(chunk[:n])
			line.Write(chunk[:n])
			for {
				text, lineErr := line.ReadString('\n')
				if lineErr != nil {
					line.WriteString(text)
					break
				}
				out.lines <- strings.TrimSuffix(text, "\n")
			}
			if err != nil {
				break
			}
		}
		out.whole <- all.String()
	}()
	return out
}

type task struct {
	config         *drivers.TaskConfig
	stdout, stderr *output
}

// The config block of a job, as the agent reads it: by the schema that the driver gives.
func parse(t *testing.T, driver *instance, config map[string]any) cty.Value {
	t.Helper()
	spec, err := driver.TaskConfigSchema()
	must(t, err)
	decoder, diagnostics := hclspecutils.Convert(spec)
	if diagnostics.HasErrors() {
		t.Fatal(diagnostics)
	}
	value, diagnostics, errs := hclutils.ParseHclInterface(config, decoder, nil)
	if diagnostics.HasErrors() {
		t.Fatal(diagnostics, errs)
	}
	return value
}

func newTask(t *testing.T, driver *instance, command ...string) *task {
	t.Helper()
	return newTaskWith(t, driver, map[string]any{
		"image": "busybox", "ephemeral": true, "boot": false,
		"command": command,
	})
}

func newTaskWith(t *testing.T, driver *instance, block map[string]any) *task {
	t.Helper()
	allocID := uuid.Generate()
	dir := allocdir.NewAllocDir(hclog.NewNullLogger(), t.TempDir(), t.TempDir(), allocID)
	must(t, dir.Build())
	t.Cleanup(func() {
		if err := dir.Destroy(); err != nil {
			t.Errorf("what the task has left behind: %v", err)
		}
	})
	taskDir := dir.NewTaskDir(&structs.Task{Name: taskName})
	must(t, taskDir.Build(fsisolation.Image, nil, ""))

	config := &drivers.TaskConfig{
		ID:            allocID + "/" + taskName + "/" + uuid.Short(),
		AllocID:       allocID,
		Name:          taskName,
		JobID:         "client",
		JobName:       "client",
		TaskGroupName: "group",
		Namespace:     "default",
		AllocDir:      dir.AllocDir,
		Env:           map[string]string{"GREETING": "hello"},
		StdoutPath:    filepath.Join(taskDir.LogDir, ".stdout.fifo"),
		StderrPath:    filepath.Join(taskDir.LogDir, ".stderr.fifo"),
		Resources: &drivers.Resources{
			NomadResources: &structs.AllocatedTaskResources{
				Cpu:    structs.AllocatedCpuResources{CpuShares: 100},
				Memory: structs.AllocatedMemoryResources{MemoryMB: 64},
			},
			LinuxResources: &drivers.LinuxResources{CPUShares: 100, MemoryLimitBytes: 64 << 20},
		},
	}
	must(t, config.EncodeDriverConfig(parse(t, driver, block)))
	return &task{config, collect(t, config.StdoutPath), collect(t, config.StderrPath)}
}
