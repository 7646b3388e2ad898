// Callgemini asks Gemini something with a leased key, and reports what came of it. While the server says that it helps, it tries
// another key.
//
// docs/other-languages.md says how the package of the API is generated. KEYBALANCER_ADDRESS is HOST:PORT or unix:PATH.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "keybalancer/v1"
)

const (
	model    = "gemini-2.5-flash"
	maxTries = 4
	maxWait  = 5 * time.Second
	maxBody  = 16 * 1024
)

var (
	address = orElse(os.Getenv("KEYBALANCER_ADDRESS"), "127.0.0.1:50051")
	gemini  = orElse(os.Getenv("GOOGLE_GEMINI_BASE_URL"), "https://generativelanguage.googleapis.com")
)

func main() {
	prompt := "Why is the sky blue?"
	if len(os.Args) > 1 {
		prompt = os.Args[1]
	}
	connection, err := grpc.Dial(address, grpc.WithInsecure())
	if err == nil {
		defer connection.Close()
		err = ask(pb.NewKeyBalancerServiceClient(connection), prompt)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func ask(balancer pb.KeyBalancerServiceClient, prompt string) error {
	var excludeKeys, excludeProjects []string
	for try := 0; try < maxTries; try++ {
		lease, err := acquire(balancer, excludeKeys, excludeProjects)
		if err != nil {
			return described(err)
		}
		report := &pb.ReportResultRequest{LeaseId: lease.LeaseId}
		answer := callGemini(lease.ApiKey, prompt, report)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		verdict, err := balancer.ReportResult(ctx, report)
		cancel()
		if err != nil {
			return described(err)
		}
		if report.Outcome == pb.Outcome_OUTCOME_SUCCESS {
			fmt.Println(answer)
			return nil
		}
		class := strings.TrimPrefix(verdict.ErrorClass.String(), "ERROR_CLASS_")
		fmt.Fprintf(os.Stderr, "%s: %s\n", lease.KeyId, class)
		advice := verdict.RetryAdvice
		if !advice.GetRetry() {
			return errors.New("another try would not help")
		}
		excludeKeys = append(excludeKeys, advice.ExcludeKeyIds...)
		excludeProjects = append(excludeProjects, advice.ExcludeProjects...)
		time.Sleep(advice.Delay.AsDuration())
	}
	return fmt.Errorf("given up after %d tries", maxTries)
}

func acquire(balancer pb.KeyBalancerServiceClient, excludeKeys, excludeProjects []string) (*pb.Lease, error) {
	ctx, cancel := context.WithTimeout(context.Background(), maxWait+5*time.Second)
	defer cancel()
	response, err := balancer.AcquireKey(ctx, &pb.AcquireKeyRequest{
		Model:           model,
		MaxWait:         durationpb.New(maxWait),
		ExcludeKeyIds:   excludeKeys,
		ExcludeProjects: excludeProjects,
	})
	return response.GetLease(), err
}

// callGemini returns the answer's text, and fills the report with what happened.
func callGemini(apiKey, prompt string, report *pb.ReportResultRequest) string {
	began := time.Now()
	defer func() { report.Latency = durationpb.New(time.Since(began)) }()
	report.Outcome = pb.Outcome_OUTCOME_FAILURE

	type part struct {
		Text string `json:"text"`
	}
	type content struct {
		Parts []part `json:"parts"`
	}
	question, _ := json.Marshal(map[string][]content{"contents": {{Parts: []part{{Text: prompt}}}}})
	url := fmt.Sprintf("%s/v1beta/models/%s:generateContent", gemini, model)
	request, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(question))
	if err != nil {
		// Nothing was sent, so nothing is to be learned about the key.
		report.Outcome = pb.Outcome_OUTCOME_UNUSED
		return ""
	}
	request.Header.Set("content-type", "application/json")
	request.Header.Set("x-goog-api-key", apiKey)
	client := http.Client{Timeout: time.Minute}
	response, err := client.Do(request)
	if err != nil {
		report.Error = &pb.ProviderError{TransportFailure: transportFailure(err, pb.TransportFailure_TRANSPORT_FAILURE_CONNECT)}
		return ""
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		report.Error = &pb.ProviderError{TransportFailure: transportFailure(err, pb.TransportFailure_TRANSPORT_FAILURE_CUT)}
		return ""
	}
	if response.StatusCode != http.StatusOK {
		// The body as it came: the server judges it. Only the key must not go with it.
		if len(body) > maxBody {
			body = body[:maxBody]
		}
		text := strings.ToValidUTF8(strings.ReplaceAll(string(body), apiKey, "[key]"), "")
		report.Error = &pb.ProviderError{HttpStatus: int32(response.StatusCode), Body: text}
		return ""
	}
	var answer struct {
		Candidates []struct {
			Content content `json:"content"`
		} `json:"candidates"`
		UsageMetadata struct {
			PromptTokenCount     int64 `json:"promptTokenCount"`
			CandidatesTokenCount int64 `json:"candidatesTokenCount"`
		} `json:"usageMetadata"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		report.Error = &pb.ProviderError{TransportFailure: pb.TransportFailure_TRANSPORT_FAILURE_CUT}
		return ""
	}
	report.Outcome = pb.Outcome_OUTCOME_SUCCESS
	report.Usage = &pb.TokenUsage{
		InputTokens:  answer.UsageMetadata.PromptTokenCount,
		OutputTokens: answer.UsageMetadata.CandidatesTokenCount,
	}
	var text strings.Builder
	if len(answer.Candidates) > 0 {
		for _, part := range answer.Candidates[0].Content.Parts {
			text.WriteString(part.Text)
		}
	}
	return text.String()
}

func transportFailure(err error, otherwise pb.TransportFailure) pb.TransportFailure {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return pb.TransportFailure_TRANSPORT_FAILURE_TIMEOUT
	}
	return otherwise
}

// described says the reason of a refusal, and when to come back, which are in its details.
func described(err error) error {
	refusal := status.Convert(err)
	words := []string{refusal.Message()}
	for _, detail := range refusal.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			words = append([]string{detail.Reason}, words...)
		case *errdetails.RetryInfo:
			words = append(words, fmt.Sprintf("come back in %.0f s", detail.RetryDelay.AsDuration().Seconds()))
		}
	}
	return fmt.Errorf("KeyBalancer at %s: %s", address, strings.Join(words, ", "))
}

func orElse(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
