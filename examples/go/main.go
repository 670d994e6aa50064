// Classify texts: go run . ADDRESS TEXT...
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/health" // for healthCheckConfig
	"google.golang.org/grpc/status"

	"classify/bertwire"
)

// Balances calls over the addresses of a name, and retries what a restart ends.
const config = `{
	"loadBalancingConfig": [{"round_robin": {}}],
	"healthCheckConfig": {"serviceName": ""},
	"methodConfig": [{
		"name": [{"service": "bertwire.v1.Classifier"}],
		"retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.05s", "maxBackoff": "1s", "backoffMultiplier": 2,
			"retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"]}
	}]
}`

func main() {
	if len(os.Args) < 3 {
		log.Fatal("usage: classify ADDRESS TEXT...")
	}
	address, texts := os.Args[1], os.Args[2:]
	connection, err := grpc.NewClient(address,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultServiceConfig(config))
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	topK := int32(1)
	request := &bertwire.ClassifyRequest{Texts: texts, TopK: &topK}
	response, err := bertwire.NewClassifierClient(connection).Classify(ctx, request)
	if err != nil {
		log.Fatalf("%s: %s", status.Code(err), status.Convert(err).Message())
	}
	for index, result := range response.Results {
		best := result.Labels[0]
		fmt.Printf("%s %.3f %s\n", best.Label, best.Score, texts[index])
	}
}
