// Package schema compares the messages and services of proto/ with those that Nomad, go-plugin and
// gRPC have compiled into their Go packages.
package schema

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	_ "github.com/hashicorp/go-plugin"
	_ "github.com/hashicorp/nomad/plugins/base/proto"
	_ "github.com/hashicorp/nomad/plugins/drivers/proto"
	_ "github.com/hashicorp/nomad/plugins/shared/hclspec"
	_ "github.com/hashicorp/nomad/plugins/shared/structs/proto"
	_ "google.golang.org/genproto/googleapis/rpc/status"
	_ "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Our files, as `protoc --include_imports --descriptor_set_out` writes them.
const descriptorsVariable = "DESCRIPTORS"

// Each of our files, and theirs that has the same content.
var theirFiles = map[string]string{
	"attribute.proto":         "plugins/shared/structs/proto/attribute.proto",
	"base.proto":              "plugins/base/proto/base.proto",
	"driver.proto":            "plugins/drivers/proto/driver.proto",
	"grpc_broker.proto":       "internal/plugin/grpc_broker.proto",
	"grpc_controller.proto":   "internal/plugin/grpc_controller.proto",
	"grpc_stdio.proto":        "internal/plugin/grpc_stdio.proto",
	"hcl_spec.proto":          "plugins/shared/hclspec/hcl_spec.proto",
	"health.proto":            "grpc/health/v1/health.proto",
	"recoverable_error.proto": "plugins/shared/structs/proto/recoverable_error.proto",
	"status.proto":            "google/rpc/status.proto",
}

// What newer releases of Nomad have and the one in go.mod has not: 2.x can't be had as a Go module.
// An entry that is no difference any more fails the test, too.
var ahead = map[string]string{
	"hashicorp.nomad.plugins.drivers.proto.Mount.request_name": "2.0.1",
	"hashicorp.nomad.plugins.drivers.proto.Driver.Init":        "2.0.4",
	"hashicorp.nomad.plugins.drivers.proto.InitRequest":        "2.0.4",
	"hashicorp.nomad.plugins.drivers.proto.InitResponse":       "2.0.4",
	"hashicorp.nomad.plugins.drivers.proto.Driver.Shutdown":    "2.0.4",
	"hashicorp.nomad.plugins.drivers.proto.ShutdownRequest":    "2.0.4",
	"hashicorp.nomad.plugins.drivers.proto.ShutdownResponse":   "2.0.4",
}

// A schema is one line of text for each element, by its full name.
type schema map[string]string

func (s schema) addEnum(enum protoreflect.EnumDescriptor) {
	for i := range enum.Values().Len() {
		value := enum.Values().Get(i)
		// By enum: its values' full names stand beside it, as in C.
		s[fmt.Sprintf("%s.%s", enum.FullName(), value.Name())] = fmt.Sprintf("= %d", value.Number())
	}
	s[string(enum.FullName())] = fmt.Sprintf("enum closed=%t", enum.IsClosed())
}

func typeOf(field protoreflect.FieldDescriptor) string {
	switch {
	case field.IsMap():
		return fmt.Sprintf("map<%s, %s>", typeOf(field.MapKey()), typeOf(field.MapValue()))
	case field.Message() != nil:
		return string(field.Message().FullName())
	case field.Enum() != nil:
		return string(field.Enum().FullName())
	default:
		return field.Kind().String()
	}
}

func (s schema) addField(field protoreflect.FieldDescriptor) {
	line := fmt.Sprintf("%s %s = %d json=%s presence=%t packed=%t", field.Cardinality(),
		typeOf(field), field.Number(), field.JSONName(), field.HasPresence(), field.IsPacked())
	if oneof := field.ContainingOneof(); oneof != nil {
		line += fmt.Sprintf(" oneof=%s", oneof.Name())
	}
	s[string(field.FullName())] = line
}

func (s schema) addMessage(message protoreflect.MessageDescriptor) {
	s[string(message.FullName())] = "message"
	for i := range message.Fields().Len() {
		s.addField(message.Fields().Get(i))
	}
	for i := range message.Enums().Len() {
		s.addEnum(message.Enums().Get(i))
	}
	for i := range message.Messages().Len() {
		s.addMessage(message.Messages().Get(i))
	}
}

func (s schema) addService(service protoreflect.ServiceDescriptor) {
	s[string(service.FullName())] = "service"
	for i := range service.Methods().Len() {
		method := service.Methods().Get(i)
		s[string(method.FullName())] = fmt.Sprintf("rpc (%s, stream=%t) returns (%s, stream=%t)",
			method.Input().FullName(), method.IsStreamingClient(),
			method.Output().FullName(), method.IsStreamingServer())
	}
}

func (s schema) addFile(file protoreflect.FileDescriptor) {
	for i := range file.Enums().Len() {
		s.addEnum(file.Enums().Get(i))
	}
	for i := range file.Messages().Len() {
		s.addMessage(file.Messages().Get(i))
	}
	for i := range file.Services().Len() {
		s.addService(file.Services().Get(i))
	}
}

func readOurs(t *testing.T) *protoregistry.Files {
	t.Helper()
	bytes, err := os.ReadFile(os.Getenv(descriptorsVariable))
	if err != nil {
		t.Fatalf("%s: %v", descriptorsVariable, err)
	}
	set := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(bytes, set); err != nil {
		t.Fatal(err)
	}
	files, err := protodesc.NewFiles(set)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func schemaOf(t *testing.T, files *protoregistry.Files, path string) schema {
	t.Helper()
	file, err := files.FindFileByPath(path)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	s := schema{}
	s[path[strings.LastIndex(path, "/")+1:]] = fmt.Sprintf("package %s", file.Package())
	s.addFile(file)
	return s
}

// Names what differs, one a line.
func difference(ours, theirs schema) map[string]string {
	differing := map[string]string{}
	for name, line := range theirs {
		if our, ok := ours[name]; !ok {
			differing[name] = fmt.Sprintf("only theirs: %s: %s", name, line)
		} else if our != line {
			differing[name] = fmt.Sprintf("%s: ours %q, theirs %q", name, our, line)
		}
	}
	for name, line := range ours {
		if _, ok := theirs[name]; !ok {
			differing[name] = fmt.Sprintf("only ours: %s: %s", name, line)
		}
	}
	return differing
}

func TestSchema(t *testing.T) {
	ours := readOurs(t)
	found := map[string]bool{}
	for _, path := range slices.Sorted(maps.Keys(theirFiles)) {
		t.Run(path, func(t *testing.T) {
			theirs := schemaOf(t, protoregistry.GlobalFiles, theirFiles[path])
			for element, line := range difference(schemaOf(t, ours, path), theirs) {
				if _, ok := ahead[element]; ok {
					found[element] = true
				} else {
					t.Error(line)
				}
			}
			t.Logf("%d elements", len(theirs))
		})
	}
	for element, since := range ahead {
		if !found[element] {
			t.Errorf("%s, since %s: no difference any more", element, since)
		}
	}
	ours.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		path := file.Path()
		if _, ok := theirFiles[path]; !ok && !strings.Contains(path, "/") { // an import has a folder
			t.Errorf("%s: nothing to compare it with", path)
		}
		return true
	})
}
