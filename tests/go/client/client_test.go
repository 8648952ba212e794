// Package client makes each call that Nomad's agent can make, with Nomad's own client, to the plugin
// that PLUGIN names. It needs root, systemd, and an image "busybox".
package client

import (
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-version"
	"github.com/hashicorp/nomad/client/lib/numalib"
	"github.com/hashicorp/nomad/helper/pluginutils/hclspecutils"
	"github.com/hashicorp/nomad/plugins/base"
	"github.com/hashicorp/nomad/plugins/drivers"
	"github.com/hashicorp/nomad/plugins/drivers/fsisolation"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Only ends what hangs.
const patience = 60 * time.Second

const apiVersion = "v0.1.0"

// Says what it was told, and ends when it is asked to.
const listener = `trap 'echo usr1' USR1
trap 'echo term; exit 7' TERM
echo "$GREETING"
while :; do sleep 1000 & wait; done`

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func receive[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case value, ok := <-from:
		if !ok {
			t.Fatalf("%s: the stream has ended", what)
		}
		return value
	case <-time.After(patience):
		t.Fatalf("%s: nothing within %s", what, patience)
	}
	panic("not reached")
}

func requireCode(t *testing.T, err error, want codes.Code, words string) {
	t.Helper()
	if code := status.Code(err); code != want || !strings.Contains(err.Error(), words) {
		t.Fatalf("got %s: %v; want %s, and something of %q", code, err, want, words)
	}
}

// The calls in the order of an agent's, each on what those before have left; the first that fails
// ends the test.
type session struct {
	*instance
	t      *testing.T // of all calls
	task   *task
	handle *drivers.TaskHandle
	exit   <-chan *drivers.ExitResult
	events <-chan *drivers.TaskEvent
}

func TestCalls(t *testing.T) {
	s := &session{instance: launch(t), t: t}
	for _, call := range []struct {
		name string
		run  func(*testing.T, *session)
	}{
		{"PluginInfo", pluginInfo},
		{"ConfigSchema", configSchema},
		{"SetConfig", setConfig},
		{"TaskConfigSchema", taskConfigSchema},
		{"Capabilities", capabilities},
		{"Fingerprint", fingerprint},
		{"TaskEvents", taskEvents},
		{"CreateNetwork", createNetwork},
		{"DestroyNetwork", destroyNetwork},
		{"StartTask", startTask},
		{"WaitTask", waitTask},
		{"InspectTask", inspectTask},
		{"TaskStats", taskStats},
		{"SignalTask", signalTask},
		{"ExecTask", execTask},
		{"ExecTaskStreaming", execTaskStreaming},
		{"RecoverTask", recoverTask},
		{"StopTask", stopTask},
		{"DestroyTask", destroyTask},
		{"Ping", ping},
		{"Kill", kill},
	} {
		if !t.Run(call.name, func(t *testing.T) { call.run(t, s) }) {
			t.FailNow()
		}
	}
}

// --- the plugin ---------------------------------------------------------------------------------

func pluginInfo(t *testing.T, s *session) {
	info, err := s.PluginInfo()
	must(t, err)
	if info.Type != base.PluginTypeDriver || info.Name != "nspawn" ||
		!slices.Equal(info.PluginApiVersions, []string{apiVersion}) {
		t.Fatalf("%+v", info)
	}
	_, err = version.NewVersion(info.PluginVersion)
	must(t, err)
}

func configSchema(t *testing.T, s *session) {
	spec, err := s.ConfigSchema()
	must(t, err)
	s.require(t, "ConfigSchema", "spec.object.attributes")
	if _, diagnostics := hclspecutils.Convert(spec); diagnostics.HasErrors() {
		t.Fatal(diagnostics)
	}
}

func setConfig(t *testing.T, s *session) {
	// As the agent validates the configuration, then as it sets it.
	must(t, s.SetConfig(&base.Config{ApiVersion: apiVersion}))
	must(t, s.SetConfig(&base.Config{
		ApiVersion: apiVersion,
		AgentConfig: &base.AgentConfig{Driver: &base.ClientDriverConfig{
			ClientMinPort: 14000,
			ClientMaxPort: 14512,
			Topology:      numalib.Scan(numalib.PlatformScanners(false)),
		}},
	}))
}

func taskConfigSchema(t *testing.T, s *session) {
	spec, err := s.TaskConfigSchema()
	must(t, err)
	s.require(t, "TaskConfigSchema", "spec.object.attributes")
	if _, diagnostics := hclspecutils.Convert(spec); diagnostics.HasErrors() {
		t.Fatal(diagnostics)
	}
}

func capabilities(t *testing.T, s *session) {
	found, err := s.DriverPlugin.Capabilities()
	must(t, err)
	s.require(t, "Capabilities", "capabilities")
	if !found.SendSignals || !found.Exec || found.FSIsolation != fsisolation.Image || found.MustInitiateNetwork {
		t.Fatalf("%+v", found)
	}
}

func fingerprint(t *testing.T, s *session) {
	prints, err := s.Fingerprint(t.Context())
	must(t, err)
	print := receive(t, "Fingerprint", prints)
	must(t, print.Err)
	s.require(t, "Fingerprint", "attributes.value")
	if print.Health != drivers.HealthStateHealthy || print.Attributes["driver.nspawn.version"] == nil {
		t.Fatalf("%+v", print)
	}
}

func taskEvents(t *testing.T, s *session) {
	var err error
	// Longer than this test.
	s.events, err = s.TaskEvents(context.Background())
	must(t, err)
	broken := newTask(t, s.instance, "/no/such/command")
	_, _, err = s.StartTask(broken.config)
	must(t, err)
	event := receive(t, "TaskEvents", s.events)
	must(t, event.Err)
	s.require(t, "TaskEvents", "timestamp")
	if event.TaskID != broken.config.ID || event.AllocID != broken.config.AllocID ||
		event.TaskName != taskName || !strings.Contains(event.Message, "/no/such/command") ||
		time.Since(event.Timestamp) > patience {
		t.Fatalf("%+v", event)
	}
	must(t, s.DestroyTask(broken.config.ID, true))
}

func createNetwork(t *testing.T, s *session) {
	manager := s.DriverPlugin.(drivers.DriverNetworkManager)
	_, _, err := manager.CreateNetwork("alloc", &drivers.NetworkCreateRequest{Hostname: "host"})
	requireCode(t, err, codes.Unimplemented, "does not make networks")
}

func destroyNetwork(t *testing.T, s *session) {
	manager := s.DriverPlugin.(drivers.DriverNetworkManager)
	err := manager.DestroyNetwork("alloc", &drivers.NetworkIsolationSpec{Path: "/run/netns/none"})
	requireCode(t, err, codes.Unimplemented, "does not make networks")
}

// --- a task -------------------------------------------------------------------------------------

func startTask(t *testing.T, s *session) {
	var err error
	s.task = newTask(s.t, s.instance, "/bin/sh", "-c", listener)
	s.handle, _, err = s.StartTask(s.task.config)
	must(t, err)
	s.require(t, "StartTask", "handle.config.id", "handle.config.alloc_id", "handle.config.env",
		"handle.config.resources.allocated_resources", "handle.config.msgpack_driver_config",
		"handle.version", "handle.driver_state")
	if s.handle.Config.ID != s.task.config.ID || s.handle.State != drivers.TaskStateRunning {
		t.Fatalf("%+v", s.handle)
	}
	if line := receive(t, "standard output", s.task.stdout.lines); line != "hello" {
		t.Fatalf("the task said %q", line)
	}
	_, _, err = s.StartTask(s.task.config)
	requireCode(t, err, codes.AlreadyExists, "")
}

func waitTask(t *testing.T, s *session) {
	var err error
	// Answered when the task is stopped, below; another one is given up.
	s.exit, err = s.WaitTask(context.Background(), s.task.config.ID)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	given, err := s.WaitTask(ctx, s.task.config.ID)
	must(t, err)
	cancel()
	if result := receive(t, "WaitTask", given); result.Err != context.Canceled {
		t.Fatalf("%+v", result)
	}
	unknown, err := s.WaitTask(t.Context(), "no such task")
	must(t, err)
	requireCode(t, receive(t, "WaitTask", unknown).Err, codes.NotFound, "")
}

func inspectTask(t *testing.T, s *session) {
	found, err := s.InspectTask(s.task.config.ID)
	must(t, err)
	s.require(t, "InspectTask", "task.started_at", "task.completed_at", "task.result",
		"driver.attributes")
	if found.ID != s.task.config.ID || found.Name != taskName ||
		found.State != drivers.TaskStateRunning || time.Since(found.StartedAt) > patience ||
		!found.CompletedAt.IsZero() {
		t.Fatalf("%+v", found)
	}
	_, err = s.InspectTask("no such task")
	requireCode(t, err, codes.NotFound, "")
}

func taskStats(t *testing.T, s *session) {
	usages, err := s.TaskStats(t.Context(), s.task.config.ID, 100*time.Millisecond)
	must(t, err)
	first, second := receive(t, "TaskStats", usages), receive(t, "TaskStats", usages)
	s.require(t, "TaskStats", "stats.timestamp", "stats.agg_resource_usage.cpu",
		"stats.agg_resource_usage.memory")
	if second.Timestamp <= first.Timestamp || len(second.ResourceUsage.CpuStats.Measured) == 0 {
		t.Fatalf("%+v, %+v", second, second.ResourceUsage.CpuStats)
	}
}

func signalTask(t *testing.T, s *session) {
	must(t, s.SignalTask(s.task.config.ID, "SIGUSR1"))
	if line := receive(t, "standard output", s.task.stdout.lines); line != "usr1" {
		t.Fatalf("the task said %q", line)
	}
	err := s.SignalTask(s.task.config.ID, "SIGNOTHING")
	requireCode(t, err, codes.InvalidArgument, "SIGNOTHING")
}

func execTask(t *testing.T, s *session) {
	result, err := s.ExecTask(s.task.config.ID,
		[]string{"/bin/sh", "-c", "echo $GREETING; echo failed >&2; exit 7"}, patience)
	must(t, err)
	s.require(t, "ExecTask", "result")
	if string(result.Stdout) != "hello\n" || string(result.Stderr) != "failed\n" ||
		result.ExitResult.ExitCode != 7 {
		t.Fatalf("%q, %q, %+v", result.Stdout, result.Stderr, result.ExitResult)
	}
	result, err = s.ExecTask(s.task.config.ID, []string{"/no/such/command"}, patience)
	must(t, err)
	if result.ExitResult.ExitCode != 127 || !strings.Contains(string(result.Stderr), "not found") {
		t.Fatalf("%q, %+v", result.Stderr, result.ExitResult)
	}
	_, err = s.ExecTask(s.task.config.ID, []string{"/bin/sleep", "1000"}, 100*time.Millisecond)
	requireCode(t, err, codes.DeadlineExceeded, "killed")
	_, err = s.ExecTask("unknown", []string{"/bin/true"}, patience)
	requireCode(t, err, codes.NotFound, "unknown")
}

// What an agent relays; here it says nothing.
type silent struct{ exitCode int32 }

func (s *silent) Recv() (*drivers.ExecTaskStreamingRequestMsg, error) { return nil, io.EOF }
func (s *silent) Send(message *drivers.ExecTaskStreamingResponseMsg) error {
	if message.Exited {
		s.exitCode = message.Result.ExitCode
	}
	return nil
}

// All else of it is in Nomad's own suite, see TestExecConformance.
func execTaskStreaming(t *testing.T, s *session) {
	raw := s.DriverPlugin.(drivers.ExecTaskStreamingRawDriver)
	stream := &silent{-1}
	must(t, raw.ExecTaskStreamingRaw(t.Context(), s.task.config.ID,
		[]string{"/bin/sh", "-c", "exit 8"}, false, stream))
	s.require(t, "ExecTaskStreaming", "result")
	if stream.exitCode != 8 {
		t.Fatalf("exit code %d", stream.exitCode)
	}
	err := raw.ExecTaskStreamingRaw(t.Context(), "unknown", []string{"/bin/true"}, false, stream)
	requireCode(t, err, codes.NotFound, "unknown")
}

func recoverTask(t *testing.T, s *session) {
	must(t, s.RecoverTask(s.handle)) // it is known already

	// The agent learns that the plugin is dead by the answers that don't come.
	process, err := os.FindProcess(s.client.ReattachConfig().Pid)
	must(t, err)
	must(t, process.Kill())
	if result := receive(t, "WaitTask", s.exit); result.Err == nil {
		t.Fatalf("%+v", result)
	}
	s.instance = launch(s.t)
	setConfig(t, s)

	err = s.RecoverTask(&drivers.TaskHandle{Version: 1, Config: &drivers.TaskConfig{ID: "unknown"}})
	if err == nil {
		t.Fatal("a task that never was has been recovered")
	}
	must(t, s.RecoverTask(s.handle))
	waitTask(t, s)
	inspectTask(t, s)
}

func stopTask(t *testing.T, s *session) {
	must(t, s.StopTask(s.task.config.ID, patience, "SIGTERM"))
	result := receive(t, "WaitTask", s.exit)
	must(t, result.Err)
	s.require(t, "WaitTask", "result")
	if result.ExitCode != 7 || result.Signal != 0 || result.OOMKilled {
		t.Fatalf("%+v", result)
	}
	if whole := receive(t, "standard output", s.task.stdout.whole); whole != "hello\nusr1\nterm\n" {
		t.Fatalf("the task said %q", whole)
	}
	if whole := receive(t, "standard error", s.task.stderr.whole); whole != "" {
		t.Fatalf("the task complained: %q", whole)
	}
	must(t, s.StopTask(s.task.config.ID, patience, "SIGTERM")) // it has ended

	found, err := s.InspectTask(s.task.config.ID)
	must(t, err)
	if found.State != drivers.TaskStateExited || found.ExitResult.ExitCode != 7 ||
		found.CompletedAt.Before(found.StartedAt) {
		t.Fatalf("%+v", found)
	}
}

func destroyTask(t *testing.T, s *session) {
	must(t, s.DestroyTask(s.task.config.ID, true))
	must(t, s.DestroyTask(s.task.config.ID, true)) // it is not there
	_, err := s.InspectTask(s.task.config.ID)
	requireCode(t, err, codes.NotFound, "")
}

// --- the end ------------------------------------------------------------------------------------

func ping(t *testing.T, s *session) {
	must(t, s.conn.Ping())
}

// In order: by GRPCController's Shutdown, and not by SIGKILL after two seconds.
func kill(t *testing.T, s *session) {
	started := time.Now()
	s.client.Kill()
	if took := time.Since(started); took >= 2*time.Second || !s.client.Exited() {
		t.Fatalf("took %s", took)
	}
}
