package client

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/nomad/structs"
	"github.com/hashicorp/nomad/plugins/drivers"
)

const (
	webPort = 18080 // of the host
	rounds  = 10
)

// withoutNetworkd stops the host's own for a test: nobody answers DHCP.
func withoutNetworkd(t *testing.T) {
	t.Helper()
	units := []string{"systemd-networkd.socket", "systemd-networkd.service"}
	systemctl := func(verb string) {
		if output, err := exec.Command("systemctl", append([]string{verb}, units...)...).CombinedOutput(); err != nil {
			t.Errorf("systemctl %s: %v: %s", verb, err, output)
		}
	}
	systemctl("stop")
	t.Cleanup(func() { systemctl("start") })
}

func portMappings(ports map[string]int, to int) *structs.AllocatedPorts {
	mappings := structs.AllocatedPorts{}
	for label, value := range ports {
		mappings = append(mappings, structs.AllocatedPortMapping{Label: label, Value: value, To: to, HostIP: "127.0.0.1"})
	}
	return &mappings
}

func newServer(t *testing.T, driver *instance, port int, block map[string]any) *task {
	t.Helper()
	config := map[string]any{
		"image": "busybox", "ephemeral": true, "boot": false,
		"command": []string{"/bin/sh", "-c", fmt.Sprintf(
			"echo served > /tmp/index.html; exec httpd -f -p %d -h /tmp", port)},
	}
	maps.Copy(config, block)
	return newTaskWith(t, driver, config)
}

// answered asks until there is an answer: what is measured is when that can be at the earliest.
func answered(t *testing.T, address string) {
	t.Helper()
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		answer, err := client.Get("http://" + address + "/index.html")
		if err != nil {
			continue
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err == nil && string(body) == "served\n" {
			return
		}
	}
	t.Fatalf("no answer from %s within %s", address, patience)
}

// serve runs a server once and gives the time from the call to the first request that was answered.
func serve(t *testing.T, driver *instance, task *task, address string, check func(*drivers.DriverNetwork)) time.Duration {
	t.Helper()
	began := time.Now()
	_, network, err := driver.StartTask(task.config)
	must(t, err)
	answered(t, address)
	took := time.Since(began)
	check(network)
	must(t, driver.DestroyTask(task.config.ID, true))
	return took
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

// A single process without any DHCP client, on a host where nobody would answer one, has its address
// before it starts, and is reached by its port as soon as it serves.
func TestServerWithAddressOfThePool(t *testing.T) {
	withoutNetworkd(t)
	driver := launchWith(t, true)
	defer driver.client.Kill()
	var auto, none []time.Duration

	for range rounds {
		task := newServer(t, driver, 80, map[string]any{"ports": []string{"http"}}) // "auto" by itself
		task.config.Resources.Ports = portMappings(map[string]int{"http": webPort}, 80)
		auto = append(auto, serve(t, driver, task, fmt.Sprintf("127.0.0.1:%d", webPort), func(network *drivers.DriverNetwork) {
			if network == nil || !strings.HasPrefix(network.IP, "10.187.") || network.PortMap["http"] != 80 || network.AutoAdvertise {
				t.Errorf("Nomad is told %+v of the network", network)
				return
			}
			status, err := driver.InspectTask(task.config.ID)
			must(t, err)
			if got := status.DriverAttributes["address"]; got != network.IP {
				t.Errorf("InspectTask shows the address %q, StartTask said %q", got, network.IP)
			}
		}))

		task = newServer(t, driver, webPort, map[string]any{"network_veth": false})
		none = append(none, serve(t, driver, task, fmt.Sprintf("127.0.0.1:%d", webPort), func(network *drivers.DriverNetwork) {
			if network != nil {
				t.Errorf("with the host's network Nomad is told %+v", network)
			}
		}))
	}
	t.Logf("shown: StartTask to the first answered request, medians of %d: %.1f ms with an address of the pool "+
		"and a port, %.1f ms with the host's network", rounds,
		float64(median(auto).Microseconds())/1000, float64(median(none).Microseconds())/1000)
}
