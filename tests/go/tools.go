//go:build tools

// Package tools pins the Nomad that the end-to-end tests run: an import here keeps its whole
// dependency tree in go.mod and go.sum.
package tools

import _ "github.com/hashicorp/nomad"
