//go:build tools

// Package tools pins what tests run of other people's programs: an import here keeps its whole
// dependency tree in go.mod and go.sum.
package tools

import (
	_ "github.com/hashicorp/nomad"
	_ "github.com/summerwind/h2spec/cmd/h2spec"
	_ "google.golang.org/grpc/interop/client"
)
