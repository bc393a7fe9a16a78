// Send a prompt with pictures, sounds or clips to Motet, stream the text, and save the media of the answer.
//
//	motet protos --out protos
//	sh generate.sh protos
//	go mod tidy
//	MOTET_API_KEY=... go run . --server localhost:50050 --tls-ca ca.pem "What is in this picture?" turtle.png
//
// Exit codes: 0 the answer is complete, 1 there is no answer, 2 the arguments are wrong, 3 some parts failed.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	motet "example.com/motet-go-example/motet/v1"
)

// Maximum size of media in a request, in bytes. Larger media are uploaded with ArtifactService first.
const maxInlineBytes = 1 << 20

const attempts = 5

var extensions = map[string]string{"image/png": "png", "audio/wav": "wav", "video/mp4": "mp4"}

var (
	server    = flag.String("server", value("MOTET_SERVER", "localhost:50050"), "address of the orchestrator")
	authority = flag.String("tls-ca", os.Getenv("MOTET_TLS_CA"), "PEM file of the server's authority")
	folder    = flag.String("out", "motet-out", "folder for the media")
	timeout   = flag.Duration("timeout", 2*time.Minute, "time limit of an answer")
)

// value returns an environment variable, or a default.
func value(name, otherwise string) string {
	if text := os.Getenv(name); text != "" {
		return text
	}
	return otherwise
}

// apiKey is sent with every call. gRPC refuses to send it without TLS.
type apiKey string

func (key apiKey) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(key)}, nil
}

func (apiKey) RequireTransportSecurity() bool { return true }

// connect returns a connection with TLS and a key, as far as they are set.
func connect() (*grpc.ClientConn, error) {
	options := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	if *authority != "" {
		tls, err := credentials.NewClientTLSFromFile(*authority, "")
		if err != nil {
			return nil, err
		}
		options = []grpc.DialOption{grpc.WithTransportCredentials(tls)}
	}
	if key := os.Getenv("MOTET_API_KEY"); key != "" {
		options = append(options, grpc.WithPerRPCCredentials(apiKey(key)))
	}
	return grpc.NewClient(*server, options...)
}

// printable escapes characters that could control the terminal. A model generated the text.
func printable(text string) string {
	var escaped strings.Builder
	for _, character := range text {
		if character == '\n' || character == '\t' || unicode.IsPrint(character) {
			escaped.WriteRune(character)
		} else {
			fmt.Fprintf(&escaped, "\\u{%x}", character)
		}
	}
	return escaped.String()
}

// newRequest returns the request of a prompt with attached files. Its id is a UUID: a repeated request runs once.
func newRequest(prompt string, files []string) (*motet.GenerateRequest, error) {
	parts := []*motet.InputPart{{Content: &motet.InputPart_Text{Text: prompt}}}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if len(data) > maxInlineBytes {
			return nil, fmt.Errorf("%s has more than 1 MiB: upload it with ArtifactService, and send its name", file)
		}
		parts = append(parts, &motet.InputPart{Content: &motet.InputPart_Media{Media: &motet.InlineMedia{Data: data}}})
	}
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, err
	}
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return &motet.GenerateRequest{
		RequestId: fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:]),
		Turns:     []*motet.Turn{{Role: motet.Turn_ROLE_USER, Parts: parts}},
	}, nil
}

// client calls the services of one connection.
type client struct {
	generations motet.GenerationServiceClient
	artifacts   motet.ArtifactServiceClient
}

// answer prints the text of one answer and saves its media.
func (client client) answer(ctx context.Context, request *motet.GenerateRequest) (*motet.Generation, error) {
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	stream, err := client.generations.Generate(ctx, request)
	if err != nil {
		return nil, err
	}
	started, data := map[string]*motet.PartStarted{}, map[string][]byte{}
	for {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil, errors.New("the server ended the stream without the event done")
		}
		if err != nil {
			return nil, err
		}
		for _, event := range response.Events {
			switch event := event.Event.(type) {
			case *motet.Event_PartStarted:
				started[event.PartStarted.PartId] = event.PartStarted
			case *motet.Event_PartDelta:
				fmt.Print(printable(event.PartDelta.GetText()))
				data[event.PartDelta.PartId] = append(data[event.PartDelta.PartId], event.PartDelta.GetData()...)
			case *motet.Event_PartDone:
				if part := started[event.PartDone.PartId]; part.Modality != "text" {
					if err := client.save(ctx, part, event.PartDone, data[part.PartId]); err != nil {
						return nil, err
					}
				}
			case *motet.Event_PartFailed:
				fmt.Printf("\n[a part failed: %s]\n", printable(event.PartFailed.Error.Message))
			case *motet.Event_Done:
				return event.Done.Generation, nil
			}
		}
	}
}

// save writes a part to a new file. Media over 1 MiB have no chunks in the stream, and are downloaded.
func (client client) save(ctx context.Context, part *motet.PartStarted, done *motet.PartDone, data []byte) error {
	if len(data) == 0 {
		stream, err := client.artifacts.DownloadArtifact(ctx, &motet.DownloadArtifactRequest{Name: done.Artifact.Name})
		for err == nil {
			var response *motet.DownloadArtifactResponse
			if response, err = stream.Recv(); err == nil {
				data = append(data, response.Chunk...)
			}
		}
		if !errors.Is(err, io.EOF) {
			return err
		}
	}
	if digest := sha256.Sum256(data); !bytes.Equal(digest[:], done.Sha256) {
		return errors.New("the media arrived damaged")
	}
	if err := os.MkdirAll(*folder, 0o755); err != nil {
		return err
	}
	extension := extensions[part.MediaType]
	if extension == "" {
		extension = "bin"
	}
	name := filepath.Join(*folder, fmt.Sprintf("%02d.%s", part.Index, extension))
	// O_EXCL: never overwrite a file.
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	fmt.Printf("\n[%s: %s]\n", printable(part.Modality), name)
	if _, err := file.Write(data); err != nil {
		return errors.Join(err, file.Close())
	}
	return file.Close()
}

// answerWithRetries calls answer, again if the server is overloaded: a refused request had no effect.
func (client client) answerWithRetries(ctx context.Context, request *motet.GenerateRequest) (*motet.Generation, error) {
	for attempt := 1; ; attempt++ {
		generation, err := client.answer(ctx, request)
		delay, found := retryDelay(err)
		if !found || attempt == attempts {
			return generation, err
		}
		fmt.Fprintf(os.Stderr, "the server is busy, or a quota is used up: again in %.1f s\n", delay.Seconds())
		time.Sleep(delay)
	}
}

// retryDelay returns the delay that an overloaded server reports.
func retryDelay(err error) (time.Duration, bool) {
	if status.Code(err) == codes.ResourceExhausted {
		for _, detail := range status.Convert(err).Details() {
			if retry, ok := detail.(*errdetails.RetryInfo); ok {
				return retry.RetryDelay.AsDuration(), true
			}
		}
	}
	return 0, false
}

// explain prints an error with its details.
func explain(err error) {
	failure := status.Convert(err)
	fmt.Fprintf(os.Stderr, "%s: %s\n", failure.Code(), printable(failure.Message()))
	for _, detail := range failure.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			fmt.Fprintf(os.Stderr, "reason %s %q\n", detail.Reason, detail.Metadata)
		case *errdetails.RequestInfo:
			fmt.Fprintf(os.Stderr, "request id %s\n", detail.RequestId)
		}
	}
}

func run() int {
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		return 2
	}
	request, err := newRequest(flag.Arg(0), flag.Args()[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	connection, err := connect()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	defer connection.Close()
	calls := client{motet.NewGenerationServiceClient(connection), motet.NewArtifactServiceClient(connection)}
	generation, err := calls.answerWithRetries(context.Background(), request)
	if err != nil {
		explain(err)
		return 1
	}
	fmt.Printf("\n%s %s\n", generation.State, generation.Name)
	if generation.State != motet.Generation_STATE_SUCCEEDED {
		return 3
	}
	return 0
}

func main() {
	os.Exit(run())
}
