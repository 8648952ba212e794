package client

import (
	"testing"

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
