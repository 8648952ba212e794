// Command bench measures a Nomad driver plugin beside another one in the same run, and prints a table
// with a row a measure. tests/bench/bench calls it, and says what is measured where.
//
//	bench -plugin PATH -peer PATH [-only NAME,...] [-host | -server PATH -peer-server PATH]
//
// With -host it expects to be in a systemd host, where a task can be started. It ends with status 1
// when a measure is over its budget, and with 2 when something could not be measured.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
)

// A pair of what is compared: [ours] and [theirs].
const (
	ours = iota
	theirs
	nSides
)

type bench struct {
	paths   [nSides]string // of the plugins
	servers [nSides]string // of grpc.testing.TestService
	// The peer is another build of this plugin.
	isPeerOurs bool
	table      table
}

// progress goes where people look and no script reads.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "    "+format+"\n", args...)
}

// In a host, what needs nothing but the plugin and /proc; outside of it, what needs tools.
type measure struct {
	name string
	run  func(*bench) error
}

var (
	hostMeasures = []measure{
		{"sizes", sizes}, {"launches", launches}, {"latency", latency}, {"memories", memories},
		{"waiting", waiting}, {"execs", execs}, {"starts", starts},
	}
	outsideMeasures = []measure{{"syscalls", syscalls}, {"throughput", throughput}, {"streaming", streaming}}
)

// run takes those of the names in only, which may be empty: all.
func (b *bench) run(inHost bool, only string) error {
	measures := outsideMeasures
	if inHost {
		measures = hostMeasures
	}
	for _, m := range measures {
		if only != "" && !slices.Contains(strings.Split(only, ","), m.name) {
			continue
		}
		if err := m.run(b); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	var b bench
	inHost := flag.Bool("host", false, "measure what is to be measured in a systemd host")
	flag.StringVar(&b.paths[ours], "plugin", "", "our plugin")
	flag.StringVar(&b.paths[theirs], "peer", "", "the plugin to compare with")
	flag.StringVar(&b.servers[ours], "server", "", "a grpc.testing.TestService on our rpc/")
	flag.StringVar(&b.servers[theirs], "peer-server", "", "the one to compare with")
	only := flag.String("only", "", "names of measures, with commas; all without")
	flag.Parse()

	err := b.meetPeer()
	if err == nil {
		err = b.run(*inHost, *only)
	}
	b.table.print()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	if b.table.isOver() {
		os.Exit(1)
	}
}
