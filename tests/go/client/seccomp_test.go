package client

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/hashicorp/nomad/nomad/structs"
	"github.com/hashicorp/nomad/plugins/base"
	"github.com/hashicorp/nomad/plugins/drivers"
	"golang.org/x/sys/unix"
)

const (
	cacheDir = "/var/cache/nomad-driver-nspawn/seccomp"
	// Set, this program makes a system call that nspawn forbids, says how that went, and runs on.
	forbiddenVariable = "CALL_FORBIDDEN"
)

func TestMain(m *testing.M) {
	if os.Getenv(forbiddenVariable) != "" {
		fmt.Println(callForbidden())
		return
	}
	os.Exit(m.Run())
}

// Anybody may add a key to a keyring of their own, as far as the kernel is concerned.
func callForbidden() error {
	_, err := unix.AddKey("user", "nspawn-test", []byte("x"), unix.KEY_SPEC_PROCESS_KEYRING)
	return err
}

// stop has the process traced and stopped; only the thread that called it may look into it.
func stop(pid int) error {
	if err := unix.PtraceSeize(pid); err != nil {
		return fmt.Errorf("PTRACE_SEIZE: %w", err)
	}
	if err := unix.PtraceInterrupt(pid); err != nil {
		return fmt.Errorf("PTRACE_INTERRUPT: %w", err)
	}
	_, err := unix.Wait4(pid, nil, unix.WALL, nil)
	return err
}

// programsOf reads the seccomp programs of a process, oldest first.
func programsOf(pid int) (programs [][]byte, err error) {
	const getFilter = 0x420c // PTRACE_SECCOMP_GET_FILTER
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := stop(pid); err != nil {
		return nil, err
	}
	defer unix.PtraceDetach(pid)
	for i := uintptr(0); ; i++ {
		n, _, errno := unix.Syscall6(unix.SYS_PTRACE, getFilter, uintptr(pid), i, 0, 0, 0)
		if errno == unix.ENOENT {
			return programs, nil
		}
		if errno != 0 {
			return nil, fmt.Errorf("program %d: %w", i, errno)
		}
		code := make([]unix.SockFilter, n)
		_, _, errno = unix.Syscall6(unix.SYS_PTRACE, getFilter, uintptr(pid), i,
			uintptr(unsafe.Pointer(&code[0])), 0, 0)
		if errno != 0 {
			return nil, fmt.Errorf("program %d: %w", i, errno)
		}
		var program bytes.Buffer
		binary.Write(&program, binary.NativeEndian, code)
		programs = append(programs, program.Bytes())
	}
}

func statusField(pid, name string) string {
	status, _ := os.ReadFile("/proc/" + pid + "/status")
	for _, line := range strings.Split(string(status), "\n") {
		if value, found := strings.CutPrefix(line, name+":"); found {
			return value
		}
	}
	return ""
}

// leaderOf finds PID 1 of a task's container, and nspawn.
func leaderOf(t *testing.T, task *task) (leader, nspawn int) {
	t.Helper()
	files, err := filepath.Glob("/sys/fs/cgroup/nspawn.slice/nspawn-*.slice/nspawn-" + taskName + "-" +
		task.config.AllocID + ".service/payload/cgroup.procs")
	must(t, err)
	for _, file := range files {
		pids, err := os.ReadFile(file)
		must(t, err)
		for _, pid := range strings.Fields(string(pids)) {
			numbers := strings.Fields(statusField(pid, "NSpid"))
			if len(numbers) > 1 && numbers[len(numbers)-1] == "1" {
				fmt.Sscan(pid, &leader)
				fmt.Sscan(statusField(pid, "PPid"), &nspawn)
				return leader, nspawn
			}
		}
	}
	t.Fatalf("no PID 1 in %v", files)
	return 0, 0
}

func launchWith(t *testing.T, cache bool) *instance {
	t.Helper()
	driver := launch(t)
	var config []byte
	must(t, base.MsgPackEncode(&config, map[string]any{"seccomp_cache": cache}))
	must(t, driver.SetConfig(&base.Config{ApiVersion: drivers.ApiVersion010, PluginConfig: config}))
	return driver
}

// What a container was started with.
type seen struct {
	programs [][]byte
	cached   bool   // nspawn was told to make none
	held     bool   // the init has them open still
	inside   string // what became of the forbidden call in the command itself,
	executed string // and in one that was executed there
}

func see(t *testing.T, driver *instance, capabilities ...string) seen {
	t.Helper()
	program, err := os.Executable()
	must(t, err)
	task := newTaskWith(t, driver, map[string]any{
		"image": "busybox", "ephemeral": true, "boot": false, "capability": capabilities,
		"bind_read_only": []map[string]any{{program: "/client"}},
		"command":        []string{"/bin/sh", "-c", "/client; exec sleep 100000"},
	})
	task.config.Env[forbiddenVariable] = "1"
	_, _, err = driver.StartTask(task.config)
	must(t, err)
	defer func() { must(t, driver.DestroyTask(task.config.ID, true)) }()

	var s seen
	s.inside = <-task.stdout.lines
	result, err := driver.ExecTask(task.config.ID, []string{"/client"}, patience)
	must(t, err)
	s.executed = strings.TrimSpace(string(result.Stdout))
	leader, nspawn := leaderOf(t, task)
	s.programs, err = programsOf(leader)
	must(t, err)
	environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", nspawn))
	must(t, err)
	s.cached = bytes.Contains(environment, []byte("SYSTEMD_SECCOMP=0"))
	s.held = holdsPrograms(t, leader)
	return s
}

// Memory of the programs, for as long as the task runs.
func holdsPrograms(t *testing.T, pid int) bool {
	t.Helper()
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	must(t, err)
	for _, link := range links {
		if name, _ := os.Readlink(link); strings.HasPrefix(name, "/memfd:") {
			return true
		}
	}
	return false
}

func expect(t *testing.T, when string, s seen, cached bool, programs [][]byte) {
	t.Helper()
	t.Logf("%-32s cached %-5v  %d programs, %d bytes", when, s.cached, len(s.programs),
		len(bytes.Join(s.programs, nil)))
	if s.cached != cached {
		t.Errorf("%s: cached is %v", when, s.cached)
	}
	if s.held {
		t.Errorf("%s: the init holds them", when)
	}
	if len(s.programs) == 0 || len(s.programs) != len(programs) {
		t.Fatalf("%s: %d programs instead of %d", when, len(s.programs), len(programs))
	}
	for i := range programs {
		if !bytes.Equal(s.programs[i], programs[i]) {
			t.Errorf("%s: program %d differs", when, i)
		}
	}
	if refused := unix.EPERM.Error(); s.inside != refused || s.executed != refused {
		t.Errorf("%s: a forbidden call inside: %q; by exec: %q", when, s.inside, s.executed)
	}
}

// spoil makes programs that no kernel takes of those in each file of the cache, as if they had been
// stored so, and gives the files.
func spoil(t *testing.T) []string {
	t.Helper()
	const hashed, lengths, body = 16, 16, 32 // offsets
	files, err := filepath.Glob(cacheDir + "/*")
	must(t, err)
	for _, path := range files {
		content, err := os.ReadFile(path)
		must(t, err)
		at := body + binary.NativeEndian.Uint32(content[lengths:]) + binary.NativeEndian.Uint32(content[lengths+4:])
		binary.NativeEndian.PutUint16(content[at+4:], 0xffff) // the first instruction, after their number
		hash := fnv.New64a()
		hash.Write(content[hashed:])
		binary.NativeEndian.PutUint64(content[8:], hash.Sum64())
		must(t, os.WriteFile(path, content, 0))
	}
	return files
}

// damage flips a bit in the middle of each file of the cache, and says how many there are.
func damage(t *testing.T) int {
	t.Helper()
	files, err := filepath.Glob(cacheDir + "/*")
	must(t, err)
	for _, path := range files {
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		must(t, err)
		defer file.Close()
		size, err := file.Seek(0, io.SeekEnd)
		must(t, err)
		var bit [1]byte
		_, err = file.ReadAt(bit[:], size/2)
		must(t, err)
		bit[0] ^= 1
		_, err = file.WriteAt(bit[:], size/2)
		must(t, err)
	}
	return len(files)
}

// callUnder makes the forbidden call in such a container of nspawn's own, with its filters or without.
func callUnder(t *testing.T, filters string) string {
	t.Helper()
	program, err := os.Executable()
	must(t, err)
	output, err := exec.Command("systemd-run", "--quiet", "--wait", "--pipe", "--property=Delegate=yes",
		"--setenv=SYSTEMD_SECCOMP="+filters, "systemd-nspawn", "--quiet", "--keep-unit", "--settings=no",
		"--directory=/var/lib/machines/busybox", "--ephemeral", "--as-pid2", "--console=pipe",
		"--private-users=pick", "--private-users-ownership=map", "--bind-ro="+program+":/client",
		"--setenv="+forbiddenVariable+"=1", "--", "/client").Output()
	must(t, err)
	return strings.TrimSpace(string(output))
}

// The filters that a container has are nspawn's, whether it made them for this very one or not.
func TestSeccompCache(t *testing.T) {
	if err := callForbidden(); err != nil {
		t.Fatalf("the call is refused outside, too: %v", err)
	}
	// It is the filters that refuse it, and neither capabilities nor the user namespace.
	if with, without := callUnder(t, "1"), callUnder(t, "0"); with != unix.EPERM.Error() || without != "<nil>" {
		t.Fatalf("the call by nspawn alone: with filters %q, without %q", with, without)
	}
	must(t, os.RemoveAll(cacheDir))
	without := launchWith(t, false)
	plain := see(t, without)
	expect(t, "without a cache", plain, false, plain.programs)
	more := see(t, without, "CAP_SYS_MODULE")
	expect(t, "the same with CAP_SYS_MODULE", more, false, more.programs)
	if bytes.Equal(bytes.Join(plain.programs, nil), bytes.Join(more.programs, nil)) {
		t.Error("the capability makes no difference; another one is wanted for this test")
	}
	if _, err := os.Stat(cacheDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a cache although it is off: %v", err)
	}
	without.client.Kill()

	driver := launchWith(t, true)
	expect(t, "fills the cache", see(t, driver), false, plain.programs)
	expect(t, "takes from the cache", see(t, driver), true, plain.programs)
	expect(t, "fills: CAP_SYS_MODULE", see(t, driver, "CAP_SYS_MODULE"), false, more.programs)
	expect(t, "takes: CAP_SYS_MODULE", see(t, driver, "CAP_SYS_MODULE"), true, more.programs)
	driver.client.Kill()

	driver = launchWith(t, true)
	expect(t, "after a restart", see(t, driver), true, plain.programs)
	expect(t, "the same, CAP_SYS_MODULE", see(t, driver, "CAP_SYS_MODULE"), true, more.programs)
	if n := damage(t); n != 2 {
		t.Errorf("%d files in the cache instead of 2", n)
	}
	expect(t, "damaged", see(t, driver), false, plain.programs)
	expect(t, "made anew", see(t, driver), true, plain.programs)

	// Never without filters: the start fails, and the next one goes well.
	spoiled := spoil(t)
	refused := newTask(t, driver, "/bin/sleep", "100000")
	_, _, err := driver.StartTask(refused.config)
	if err == nil || !strings.Contains(err.Error(), "the init cannot install the seccomp filters") ||
		!structs.IsRecoverable(err) {
		t.Errorf("start with programs that the kernel does not take: %v", err)
	}
	if left, _ := filepath.Glob(cacheDir + "/*"); len(left) != len(spoiled)-1 {
		t.Errorf("%d files are left of %d", len(left), len(spoiled))
	}
	expect(t, "after programs were refused", see(t, driver), false, plain.programs)
	expect(t, "made anew", see(t, driver), true, plain.programs)
	driver.client.Kill()
}
