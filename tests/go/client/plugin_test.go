package client

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	hclog "github.com/hashicorp/go-hclog"
	plugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/nomad/plugins/base"
	"github.com/hashicorp/nomad/plugins/drivers"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// The program under test.
const pluginVariable = "PLUGIN"

// Nomad's client turns each reply into structs of its own, in which what is missing looks like what
// is empty. So the last reply of each method is kept as it came, by the method's name.
type replies struct {
	mutex sync.Mutex
	last  map[string]proto.Message
}

// Nomad's are generated for the older interface.
func asMessage(message any) proto.Message {
	if old, ok := message.(protoadapt.MessageV1); ok {
		return protoadapt.MessageV2Of(old)
	}
	return message.(proto.Message)
}

func (r *replies) keep(method string, reply any) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.last[method[strings.LastIndex(method, "/")+1:]] = proto.Clone(asMessage(reply))
}

func (r *replies) get(method string) proto.Message {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.last[method]
}

func (r *replies) unary(ctx context.Context, method string, request, reply any,
	conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	err := invoke(ctx, method, request, reply, conn, options...)
	if err == nil {
		r.keep(method, reply)
	}
	return err
}

type keptStream struct {
	grpc.ClientStream
	replies *replies
	method  string
}

func (s *keptStream) RecvMsg(message any) error {
	err := s.ClientStream.RecvMsg(message)
	if err == nil {
		s.replies.keep(s.method, message)
	}
	return err
}

func (r *replies) stream(ctx context.Context, description *grpc.StreamDesc, conn *grpc.ClientConn,
	method string, open grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := open(ctx, description, conn, method, options...)
	if err != nil {
		return nil, err
	}
	return &keptStream{stream, r, method}, nil
}

// missing names what is not there of a chain of fields, the last of which may be a oneof. Each value
// of a map must have the rest of the chain.
func missing(message protoreflect.Message, path string) error {
	name, rest, more := strings.Cut(path, ".")
	if oneof := message.Descriptor().Oneofs().ByName(protoreflect.Name(name)); oneof != nil {
		if message.WhichOneof(oneof) == nil {
			return fmt.Errorf("%s: %s is missing", message.Descriptor().FullName(), name)
		}
		return nil
	}
	field := message.Descriptor().Fields().ByName(protoreflect.Name(name))
	if field == nil {
		return fmt.Errorf("%s has no field %s", message.Descriptor().FullName(), name)
	}
	if !message.Has(field) {
		return fmt.Errorf("%s: %s is missing", message.Descriptor().FullName(), name)
	}
	if !more {
		return nil
	}
	if !field.IsMap() {
		return missing(message.Get(field).Message(), rest)
	}
	var err error
	message.Get(field).Map().Range(func(_ protoreflect.MapKey, value protoreflect.Value) bool {
		err = missing(value.Message(), rest)
		return err == nil
	})
	return err
}

// A plugin process, as Nomad's agent has it.
type instance struct {
	drivers.DriverPlugin
	client  *plugin.Client
	conn    plugin.ClientProtocol
	replies *replies
}

func launch(t *testing.T) *instance {
	t.Helper()
	path := os.Getenv(pluginVariable)
	if path == "" {
		t.Fatalf("%s does not name the plugin", pluginVariable)
	}
	logger := hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: os.Stderr})
	kept := &replies{last: map[string]proto.Message{}}
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: base.Handshake,
		Plugins: map[string]plugin.Plugin{
			base.PluginTypeBase:   &base.PluginBase{},
			base.PluginTypeDriver: drivers.NewDriverPlugin(nil, logger),
		},
		Cmd:              exec.Command(path),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Logger:           logger,
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithUnaryInterceptor(kept.unary),
			grpc.WithStreamInterceptor(kept.stream),
		},
	})
	t.Cleanup(client.Kill)
	conn, err := client.Client()
	if err != nil {
		t.Fatal(err)
	}
	driver, err := conn.Dispense(base.PluginTypeDriver)
	if err != nil {
		t.Fatal(err)
	}
	return &instance{driver.(drivers.DriverPlugin), client, conn, kept}
}

// require fails unless the last reply of the method has all that the paths name.
func (i *instance) require(t *testing.T, method string, paths ...string) {
	t.Helper()
	reply := i.replies.get(method)
	if reply == nil {
		t.Fatalf("%s has not been answered", method)
	}
	for _, path := range paths {
		if err := missing(reply.ProtoReflect(), path); err != nil {
			t.Errorf("%s: %v", method, err)
		}
	}
}
