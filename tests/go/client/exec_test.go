package client

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"

	plugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/nomad/plugins/drivers/proto"
	"github.com/hashicorp/nomad/plugins/drivers/testutils"
)

// Nomad's own suite of what an exec has to do.
func TestExecConformance(t *testing.T) {
	for _, kind := range []struct {
		name   string
		config map[string]any
	}{
		{"process", map[string]any{"image": "busybox", "ephemeral": true, "boot": false,
			"command": []string{"/bin/sleep", "100000"}}},
		{"booted", map[string]any{"image": "debian", "ephemeral": true}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			driver := launch(t)
			defer driver.client.Kill()
			task := newTaskWith(t, driver, kind.config)
			_, _, err := driver.StartTask(task.config)
			must(t, err)
			defer func() { must(t, driver.DestroyTask(task.config.ID, true)) }()

			harness := testutils.NewDriverHarness(t, driver.DriverPlugin)
			defer harness.Kill()
			testutils.ExecTaskStreamingConformanceTests(t, harness, task.config.ID)
		})
	}
}

// launchSleeper starts a task of a plugin of its own; both end with the test.
func launchSleeper(t *testing.T) (*instance, *task) {
	t.Helper()
	driver := launch(t)
	task := newTask(t, driver, "/bin/sleep", "100000")
	_, _, err := driver.StartTask(task.config)
	must(t, err)
	t.Cleanup(func() {
		must(t, driver.DestroyTask(task.config.ID, true))
		driver.client.Kill()
	})
	return driver, task
}

const nExecsAtOnce = 200

// More than the 1024 descriptors that a process may have open by default are needed for them.
func TestExecAtOnce(t *testing.T) {
	driver, task := launchSleeper(t)

	errs := make([]error, nExecsAtOnce)
	var wait sync.WaitGroup
	for i := range errs {
		wait.Go(func() {
			result, err := driver.ExecTask(task.config.ID, []string{"/bin/true"}, patience)
			if err == nil && (result.ExitResult.ExitCode != 0 || result.ExitResult.Signal != 0) {
				err = fmt.Errorf("true ended with %+v", result.ExitResult)
			}
			errs[i] = err
		})
	}
	wait.Wait()
	must(t, errors.Join(errs...))

	// An answer comes when the command has ended; its scope goes before the next one is made.
	_, err := driver.ExecTask(task.config.ID, []string{"/bin/true"}, patience)
	must(t, err)
	left, err := filepath.Glob("/sys/fs/cgroup/nspawn.slice/nspawn-*.slice/nspawn-*.service/exec-*.scope")
	must(t, err)
	if len(left) > 1 {
		t.Errorf("%d scopes are left: %v", len(left), left)
	}
}

// privateKiB is what a process has for itself.
func privateKiB(t *testing.T, pid int) int {
	t.Helper()
	sizes, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	must(t, err)
	found := regexp.MustCompile(`Private_Dirty: +(\d+) kB`).FindSubmatch(sizes)
	if found == nil {
		t.Fatalf("no size in %s", sizes)
	}
	size, err := strconv.Atoi(string(found[1]))
	must(t, err)
	return size
}

const (
	slowMessages  = 500
	slowGrowthKiB = 1024
)

// A command that writes without an end is held up by a client that is busy with each of its messages.
func TestExecIntoSlowClient(t *testing.T) {
	driver, task := launchSleeper(t)

	pid := driver.client.ReattachConfig().Pid
	before := privateKiB(t, pid)
	stream, err := proto.NewDriverClient(driver.conn.(*plugin.GRPCClient).Conn).ExecTaskStreaming(t.Context())
	must(t, err)
	must(t, stream.Send(&proto.ExecTaskStreamingRequest{Setup: &proto.ExecTaskStreamingRequest_Setup{
		TaskId:  task.config.ID,
		Command: []string{"/bin/cat", "/dev/zero"},
	}}))
	most, bytes := before, 0
	for range slowMessages {
		message, err := stream.Recv()
		must(t, err)
		bytes += len(message.GetStdout().GetData())
		most = max(most, privateKiB(t, pid))
	}
	t.Logf("%d KiB received; memory of the plugin %d KiB before, %d KiB at most", bytes/1024, before, most)
	if bytes < 1<<20 || most > before+slowGrowthKiB {
		t.Errorf("it has grown by %d KiB", most-before)
	}
}
