// Command mock is what `make bench` compares with: Nomad's own mock driver as a plugin, which is what
// a driver in Go costs before it does anything.
package main

import (
	"context"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/nomad/drivers/mock"
	"github.com/hashicorp/nomad/plugins"
)

func main() {
	plugins.ServeCtx(func(ctx context.Context, logger hclog.Logger) any {
		return mock.NewMockDriver(ctx, logger)
	})
}
