// Watchhealth prints what changes in the health of keys and pools, a line each, until Ctrl-C. It outlasts a restart of the server and
// misses nothing.
//
// docs/other-languages.md says how the package of the API is generated. KEYBALANCER_ADDRESS is HOST:PORT or unix:PATH.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	pb "keybalancer/v1"
)

func main() {
	address := os.Getenv("KEYBALANCER_ADDRESS")
	if address == "" {
		address = "127.0.0.1:50051"
	}
	connection, err := grpc.Dial(address, grpc.WithInsecure(),
		// A connection whose other end is gone without a word is found out in half a minute.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}),
	)
	if err == nil {
		defer connection.Close()
		err = watch(pb.NewKeyBalancerServiceClient(connection))
	}
	fmt.Fprintf(os.Stderr, "KeyBalancer at %s: %s\n", address, status.Convert(err).Message())
	os.Exit(1)
}

// watch ends with an error that will not pass.
func watch(balancer pb.KeyBalancerServiceClient) error {
	resumeToken := ""
	for {
		// WaitForReady: while there is no server, the call waits for one.
		stream, err := balancer.WatchHealth(context.Background(), &pb.WatchHealthRequest{ResumeToken: resumeToken}, grpc.WaitForReady(true))
		for err == nil {
			var message *pb.WatchHealthResponse
			if message, err = stream.Recv(); err != nil {
				break
			}
			// Pages of a snapshot but the last have none.
			if message.ResumeToken != "" {
				resumeToken = message.ResumeToken
			}
			show(message)
		}
		switch status.Code(err) {
		case codes.Unavailable, codes.Canceled, codes.Internal, codes.Unknown:
			time.Sleep(500 * time.Millisecond)
		default:
			return err
		}
	}
}

func show(message *pb.WatchHealthResponse) {
	if snapshot := message.GetSnapshot(); snapshot != nil {
		for _, key := range snapshot.Keys {
			fmt.Println(key.Pool, key.KeyId, state(key.State))
		}
		if !snapshot.More {
			fmt.Println("watching")
		}
	}
	if change := message.GetChange(); change != nil {
		kind := strings.TrimPrefix(change.Kind.String(), "HEALTH_EVENT_KIND_")
		switch {
		case change.Key == nil:
			fmt.Println(strings.Join(strings.Fields(kind+" "+change.Pool+" "+change.Model), " "))
		case change.PreviousState == pb.KeyState_KEY_STATE_UNSPECIFIED:
			fmt.Println(kind, change.Key.KeyId, state(change.Key.State))
		default:
			fmt.Println(kind, change.Key.KeyId, state(change.PreviousState), "->", state(change.Key.State))
		}
	}
}

func state(state pb.KeyState) string {
	return strings.TrimPrefix(state.String(), "KEY_STATE_")
}
