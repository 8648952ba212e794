package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"
	"github.com/hashicorp/nomad/plugins/drivers/proto"
	"golang.org/x/sys/unix"
)

// How long it takes from the request to the first instruction of a container's command: by us, and by
// a bare unit that runs nspawn. And what a container costs while it runs.

const (
	nStarts        = 21
	startMax       = 1.1
	startCachedMax = 0.5
	image          = "/var/lib/machines/busybox"
	// Prints CLOCK_MONOTONIC in nanoseconds.
	stamp = "/opt/bench/stamp"
)

func now() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err)
	}
	return t.Nano()
}

// since reads the stamp, and gives the milliseconds from the start to it.
func since(start int64, from *os.File) (float64, error) {
	line, err := bufio.NewReader(from).ReadString('\n')
	if err != nil {
		return 0, fmt.Errorf("the command has not said when it ran: %w", err)
	}
	at, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	return float64(at-start) / 1e6, err
}

// --- ours ---

func stampConfig(command ...string) map[string]any {
	return map[string]any{
		"image": image, "read_only": true, "boot": false, "network_veth": false,
		"bind_read_only": []map[string]string{{stamp: "/mnt"}},
		"command":        command,
	}
}

func startOurs(ctx context.Context, p *plugin) (ms float64, err error) {
	dir, err := os.MkdirTemp("", "bench-fifo-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "stdout")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return 0, err
	}
	// As Nomad's log collector does: before anybody writes.
	output, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer output.Close()
	start := now()
	t, err := startTaskWith(ctx, p, stampConfig("/mnt"), path)
	if err != nil {
		return 0, err
	}
	defer t.end()
	if ms, err = since(start, output); err != nil {
		return 0, err
	}
	if _, err = p.driver.WaitTask(ctx, &proto.WaitTaskRequest{TaskId: t.id}); err != nil {
		return 0, err
	}
	_, err = p.driver.DestroyTask(ctx, &proto.DestroyTaskRequest{TaskId: t.id, Force: true})
	return ms, err
}

// --- a bare unit ---

type property struct {
	Name  string
	Value dbus.Variant
}

type auxiliary struct {
	Name       string
	Properties []property
}

type execStart struct {
	Path          string
	Arguments     []string
	IgnoreFailure bool
}

type manager struct {
	conn   *dbus.Conn
	object dbus.BusObject
	number int
}

func newManager() (*manager, error) {
	conn, err := dbus.ConnectSystemBus()
	if err != nil {
		return nil, err
	}
	return &manager{conn, conn.Object("org.freedesktop.systemd1", "/org/freedesktop/systemd1"), 0}, nil
}

func (m *manager) call(method string, arguments ...any) error {
	return m.object.Call("org.freedesktop.systemd1.Manager."+method, 0, arguments...).Err
}

// start runs nspawn with the same container, its own stub init, and its own filters.
func (m *manager) start(stdout *os.File, command ...string) (unit string, err error) {
	m.number++
	name := fmt.Sprintf("bench-%d-%d", os.Getpid(), m.number)
	argv := append([]string{"systemd-nspawn", "--quiet", "--keep-unit", "--settings=no", "--machine=" + name,
		"--directory=" + image, "--read-only", "--as-pid2", "--console=pipe", "--private-users=pick",
		"--private-users-ownership=map", "--bind-ro=" + stamp + ":/mnt", "--"}, command...)
	unit = name + ".service"
	properties := []property{
		{"ExecStart", dbus.MakeVariant([]execStart{{"/usr/bin/systemd-nspawn", argv, false}})},
		{"StandardOutputFileDescriptor", dbus.MakeVariant(dbus.UnixFD(stdout.Fd()))},
		{"StandardError", dbus.MakeVariant("null")},
		{"CollectMode", dbus.MakeVariant("inactive-or-failed")},
		{"Delegate", dbus.MakeVariant(true)},
	}
	return unit, m.call("StartTransientUnit", unit, "fail", properties, []auxiliary{})
}

func (m *manager) measure() (ms float64, err error) {
	read, write, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer read.Close()
	start := now()
	_, err = m.start(write, "/mnt")
	write.Close()
	if err != nil {
		return 0, err
	}
	if ms, err = since(start, read); err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, read) // until nobody has it any more: nspawn has ended
	return ms, err
}

func (m *manager) mainPID(unit string) (int, error) {
	var path dbus.ObjectPath
	call := m.object.Call("org.freedesktop.systemd1.Manager.GetUnit", 0, unit)
	if err := call.Store(&path); err != nil {
		return 0, err
	}
	pid, err := m.conn.Object("org.freedesktop.systemd1", path).
		GetProperty("org.freedesktop.systemd1.Service.MainPID")
	if err != nil {
		return 0, err
	}
	return int(pid.Value().(uint32)), nil
}

func unitOf(t *task) string {
	allocID, _, _ := strings.Cut(t.id, "/")
	return "nspawn-bench-" + allocID + ".service"
}

// startSleeping returns when the command runs.
func (m *manager) startSleeping() (unit string, err error) {
	read, write, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer read.Close()
	start := now()
	unit, err = m.start(write, "/bin/sh", "-c", "/mnt; exec /bin/sleep 1000000")
	write.Close()
	if err == nil {
		_, err = since(start, read)
	}
	return unit, err
}

// --- the measures ---

// starts: the time of each, in turn.
func starts(b *bench) error {
	m, err := newManager()
	if err != nil {
		return err
	}
	defer m.conn.Close()
	// By nspawn's own programs, as a unit has them, and by those that it has made before.
	if err := startsOf(b, m, "start to first instruction", false, startMax); err != nil {
		return err
	}
	if err := startsOf(b, m, "the same, seccomp cached", true, startCachedMax); err != nil {
		return err
	}
	return containers(b, m)
}

func startsOf(b *bench, m *manager, name string, cached bool, limit float64) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	p, err := b.launchOurs(ctx, map[string]any{"seccomp_cache": cached})
	if err != nil {
		return err
	}
	defer p.end()
	progress("%d starts of each: %s", nStarts, name)
	var took [nSides][]float64
	for round := range nStarts + 1 {
		mine, err := startOurs(ctx, p)
		if err != nil {
			return fmt.Errorf("%s: %w", b.paths[ours], err)
		}
		bare, err := m.measure()
		if err != nil {
			return fmt.Errorf("a bare unit: %w", err)
		}
		if round > 0 { // the first one warms up, and fills the cache
			took[ours] = append(took[ours], mine)
			took[theirs] = append(took[theirs], bare)
		}
	}
	b.table.add(name+" (peer: nspawn in a unit)", "ms", medians(took), budget{bound: limit, ofRatio: true})
	return nil
}

// What nspawn and PID 1 of its container take.
type cost struct {
	private, init float64 // KiB: of both together; resident, of PID 1
}

func costOf(nspawn int) (c cost, err error) {
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", nspawn, nspawn))
	if err != nil {
		return c, err
	}
	pids := strings.Fields(string(children))
	if len(pids) != 1 {
		return c, fmt.Errorf("nspawn has the children %q instead of one", children)
	}
	leader, err := strconv.Atoi(pids[0])
	if err != nil {
		return c, err
	}
	for _, pid := range []int{nspawn, leader} {
		sizes, err := memory(pid)
		if err != nil {
			return c, err
		}
		c.private += sizes["Private_Dirty"] + sizes["Private_Clean"]
		c.init = sizes["Rss"] // of the last one
	}
	return c, nil
}

// containers: memory beside that of nspawn with its own stub init.
func containers(b *bench, m *manager) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	p, err := b.launchOurs(ctx, map[string]any{})
	if err != nil {
		return err
	}
	defer p.end()
	t, err := startTaskWith(ctx, p, stampConfig("/bin/sleep", "1000000"), os.DevNull)
	if err != nil {
		return err
	}
	defer t.end()
	bare, err := m.startSleeping()
	if err != nil {
		return err
	}
	defer m.call("StopUnit", bare, "replace")
	units := [nSides]string{unitOf(t), bare}
	var private, init [nSides]float64
	for side, unit := range units {
		pid, err := m.mainPID(unit)
		if err != nil {
			return err
		}
		c, err := costOf(pid)
		if err != nil {
			return fmt.Errorf("%s: %w", unit, err)
		}
		private[side], init[side] = c.private, c.init
	}
	b.table.add("private memory of nspawn and init a task", "KiB", private)
	b.table.add("resident memory of the init (peer: nspawn's)", "KiB", init)
	return t.stop(ctx, nil)
}
