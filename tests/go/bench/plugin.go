package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/nomad/plugins/base"
	baseproto "github.com/hashicorp/nomad/plugins/base/proto"
	"github.com/hashicorp/nomad/plugins/drivers/proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// A plugin that runs, launched as an agent does, with one connection to it.
type plugin struct {
	cmd         *exec.Cmd
	stdin       io.Closer
	socket      string
	toHandshake time.Duration
	conn        *grpc.ClientConn
	driver      proto.DriverClient
	base        baseproto.BasePluginClient
	config      map[string]any // the plugin's block of the agent's configuration
}

// socketOf takes the handshake line apart: "1|2|unix|PATH|grpc|".
func socketOf(line string) (string, error) {
	fields := strings.Split(strings.TrimSpace(line), "|")
	if len(fields) < 5 || fields[2] != "unix" || fields[4] != "grpc" {
		return "", fmt.Errorf("handshake line %q: expected 1|2|unix|PATH|grpc|", line)
	}
	return fields[3], nil
}

func launch(path string) (*plugin, error) {
	p := &plugin{cmd: exec.Command(path), config: map[string]any{}}
	p.cmd.Env = append(os.Environ(),
		base.Handshake.MagicCookieKey+"="+base.Handshake.MagicCookieValue,
		fmt.Sprintf("PLUGIN_PROTOCOL_VERSIONS=%d", base.Handshake.ProtocolVersion),
		"PLUGIN_MIN_PORT=10000", "PLUGIN_MAX_PORT=25000")
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	// Somebody reads it, or it takes the agent for dead.
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}

	start := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go io.Copy(io.Discard, stderr)
	line, err := bufio.NewReader(stdout).ReadString('\n')
	p.toHandshake = time.Since(start)
	if err == nil {
		p.socket, err = socketOf(line)
	}
	if err == nil {
		p.conn, err = grpc.NewClient("unix:"+p.socket,
			grpc.WithTransportCredentials(insecure.NewCredentials()))
	}
	if err != nil {
		p.end()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	p.driver = proto.NewDriverClient(p.conn)
	p.base = baseproto.NewBasePluginClient(p.conn)
	return p, nil
}

func (p *plugin) pid() int { return p.cmd.Process.Pid }

func (p *plugin) end() {
	if p.conn != nil {
		p.conn.Close()
	}
	p.cmd.Process.Signal(syscall.SIGKILL)
	p.cmd.Wait()
	if p.socket != "" {
		os.Remove(p.socket)
	}
}

// Of all unary calls the one that costs a driver least; its answer has the same few fields from each.
const (
	driverService    = "/hashicorp.nomad.plugins.drivers.proto.Driver/"
	capabilitiesPath = driverService + "Capabilities"
	waitTaskPath     = driverService + "WaitTask"
)

func (p *plugin) call(ctx context.Context) error {
	_, err := p.driver.Capabilities(ctx, &proto.CapabilitiesRequest{})
	return err
}

// greet does what an agent does after a launch, and leaves open the two streams that it leaves open.
func (p *plugin) greet(ctx context.Context) (*baseproto.PluginInfoResponse, error) {
	info, err := p.base.PluginInfo(ctx, &baseproto.PluginInfoRequest{})
	if err != nil {
		return nil, err
	}
	if _, err = p.base.ConfigSchema(ctx, &baseproto.ConfigSchemaRequest{}); err != nil {
		return nil, err
	}
	var config []byte
	if err = base.MsgPackEncode(&config, p.config); err != nil {
		return nil, err
	}
	_, err = p.base.SetConfig(ctx, &baseproto.SetConfigRequest{
		MsgpackConfig:    config,
		PluginApiVersion: info.PluginApiVersions[0],
	})
	if err != nil {
		return nil, err
	}
	if _, err = p.driver.TaskConfigSchema(ctx, &proto.TaskConfigSchemaRequest{}); err != nil {
		return nil, err
	}
	if err = p.call(ctx); err != nil {
		return nil, err
	}
	fingerprints, err := p.driver.Fingerprint(ctx, &proto.FingerprintRequest{})
	if err != nil {
		return nil, err
	}
	if _, err = fingerprints.Recv(); err != nil {
		return nil, fmt.Errorf("no fingerprint: %w", err)
	}
	go drain(fingerprints)
	events, err := p.driver.TaskEvents(ctx, &proto.TaskEventsRequest{})
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			if _, err := events.Recv(); err != nil {
				return
			}
		}
	}()
	return info, nil
}

// launchOurs launches ours alone and greets it, with this block of configuration.
func (b *bench) launchOurs(ctx context.Context, config map[string]any) (*plugin, error) {
	return b.launchOne(ctx, ours, config)
}

func (b *bench) launchOne(ctx context.Context, side int, config map[string]any) (*plugin, error) {
	p, err := launch(b.paths[side])
	if err != nil {
		return nil, err
	}
	p.config = config
	if _, err := p.greet(ctx); err != nil {
		p.end()
		return nil, fmt.Errorf("%s: %w", b.paths[side], err)
	}
	return p, nil
}

// meetPeer learns what kind of plugin the peer is.
func (b *bench) meetPeer() error {
	var names [nSides]string
	plugins, err := b.pair()
	if err != nil {
		return err
	}
	defer endAll(plugins)
	for side, p := range plugins {
		info, err := p.base.PluginInfo(context.Background(), &baseproto.PluginInfoRequest{})
		if err != nil {
			return fmt.Errorf("%s: %w", b.paths[side], err)
		}
		names[side] = info.Name
	}
	b.isPeerOurs = names[ours] == names[theirs]
	return nil
}

func drain(fingerprints proto.Driver_FingerprintClient) {
	for {
		if _, err := fingerprints.Recv(); err != nil {
			return
		}
	}
}

// pair launches both, ours first.
func (b *bench) pair() ([nSides]*plugin, error) {
	var plugins [nSides]*plugin
	for side, path := range b.paths {
		p, err := launch(path)
		if err != nil {
			endAll(plugins)
			return plugins, err
		}
		plugins[side] = p
	}
	return plugins, nil
}

func endAll(plugins [nSides]*plugin) {
	for _, p := range plugins {
		if p != nil {
			p.end()
		}
	}
}
