package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
)

// What streams carry, by gRPC's TestService: a driver has no method that only moves bytes.

const (
	streamMessages     = 1000
	streamMessageBytes = 1 << 20
	streamRounds       = 3
)

// A server of TestService that runs, with one connection to it.
type server struct {
	cmd    *exec.Cmd
	conn   *grpc.ClientConn
	client testgrpc.TestServiceClient
}

func serve(path string) (*server, error) {
	s := &server{cmd: exec.Command(path)}
	s.cmd.Stderr = os.Stderr
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	port, err := bufio.NewReader(stdout).ReadString('\n')
	if err == nil {
		s.conn, err = grpc.NewClient("127.0.0.1:"+strings.TrimSpace(port),
			grpc.WithTransportCredentials(insecure.NewCredentials()))
	}
	if err != nil {
		s.end()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s.client = testgrpc.NewTestServiceClient(s.conn)
	return s, nil
}

func (s *server) end() {
	if s.conn != nil {
		s.conn.Close()
	}
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

// upload sends one stream of messages; the reply says how much of it has arrived.
func (s *server) upload() error {
	stream, err := s.client.StreamingInputCall(context.Background())
	if err != nil {
		return err
	}
	message := &testgrpc.StreamingInputCallRequest{
		Payload: &testgrpc.Payload{Body: make([]byte, streamMessageBytes)},
	}
	for range streamMessages {
		if err := stream.Send(message); err != nil {
			return err
		}
	}
	reply, err := stream.CloseAndRecv()
	if err != nil {
		return err
	}
	if n := reply.GetAggregatedPayloadSize(); n != streamMessages*streamMessageBytes {
		return fmt.Errorf("%d bytes of %d have arrived", n, streamMessages*streamMessageBytes)
	}
	return nil
}

// download receives one stream of messages.
func (s *server) download() error {
	request := &testgrpc.StreamingOutputCallRequest{}
	for range streamMessages {
		request.ResponseParameters = append(request.ResponseParameters,
			&testgrpc.ResponseParameters{Size: streamMessageBytes})
	}
	stream, err := s.client.StreamingOutputCall(context.Background(), request)
	if err != nil {
		return err
	}
	n := 0
	for {
		reply, err := stream.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		n += len(reply.GetPayload().GetBody())
	}
	if n != streamMessages*streamMessageBytes {
		return fmt.Errorf("%d bytes of %d have arrived", n, streamMessages*streamMessageBytes)
	}
	return nil
}

// streaming: how fast one stream moves, each way.
func streaming(b *bench) error {
	var servers [nSides]*server
	for side, path := range b.servers {
		s, err := serve(path)
		if err != nil {
			return err
		}
		defer s.end()
		servers[side] = s
	}
	ways := []struct {
		name string
		move func(*server) error
	}{
		{"stream to the server", (*server).upload},
		{"stream from the server", (*server).download},
	}
	for _, way := range ways {
		var best [nSides]float64
		progress("%s, %d messages of 1 MiB", way.name, streamMessages)
		for range streamRounds {
			for side, s := range servers {
				start := time.Now()
				if err := way.move(s); err != nil {
					return fmt.Errorf("%s, %s: %w", b.servers[side], way.name, err)
				}
				best[side] = max(best[side], streamMessages/time.Since(start).Seconds())
			}
		}
		b.table.add(fmt.Sprintf("%s, best of %d", way.name, streamRounds), "MiB/s", best)
	}
	return nil
}
