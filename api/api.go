// Package api keeps the HTTP face of a node: /v1, its OpenAPI 3.1 document at /openapi.json, and /metrics.
// It promises that nobody comes in but a program of this machine that holds the node's token, and that every failure is a job.Failure in JSON.
// It leaves what it tells to the interfaces below, which the node hands in, and speaking to it to api/client.
package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/spec/job"
)

// Config says where the API listens and who may come in.
type Config struct {
	Address string // host:port of this machine's loopback; port 0 lets the system choose
	Token   string // at least 16 characters
	Version string
}

// Default is the address that an HPIPS node listens on when nothing else is said.
func Default() Config { return Config{Address: "127.0.0.1:4712"} }

// Check says what is wrong with a configuration.
func (c Config) Check() error {
	host, port, err := net.SplitHostPort(c.Address)
	if err != nil || port == "" {
		return &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("--api %q is not an address", c.Address), Hint: "write --api 127.0.0.1:4712"}
	}
	if !loopback(host) {
		return &job.Failure{
			Code:    job.CodeUsage,
			Message: fmt.Sprintf("--api %s would be reachable from other machines", c.Address),
			Hint:    "the API gives power over this node and listens on loopback only: write --api 127.0.0.1:" + port,
		}
	}
	if len(c.Token) < 16 {
		return errors.New("api: token is too short")
	}
	return nil
}

// Jobs is what the API asks of the requester. Errors are *job.Failure or *job.Error where a person can act on them.
type Jobs interface {
	Submit(ctx context.Context, spec job.Spec, live bool) (string, error)
	Preview(ctx context.Context, spec job.Spec) (job.Why, error)
	Jobs(ctx context.Context) ([]job.Status, error)
	Job(ctx context.Context, id string) (job.Status, error)
	Watch(ctx context.Context, id string) (<-chan job.Status, error)
	Output(ctx context.Context, id string) (<-chan job.Chunk, error)
	Stdin(ctx context.Context, id string, r io.Reader) error
	Cancel(ctx context.Context, id string) error
	Rerun(ctx context.Context, id string) (string, error)
	Why(ctx context.Context, id string) (job.Why, error)
	Logs(ctx context.Context, id string, task int64) ([]job.Log, error)
	Cost(ctx context.Context, id string) (job.Cost, error)
}

// Content is what the API asks of the store. An address is a CID, ipfs://CID/path or /ipfs/CID/path; a ctx without progress for idle ends.
type Content interface {
	Add(ctx context.Context, r io.Reader) (client.Entry, error)
	Import(ctx context.Context, path string, progress func(client.Progress)) (client.Entry, error)
	Export(ctx context.Context, address string, to client.Export, progress func(client.Progress)) (client.Entry, error)
	List(ctx context.Context, address string, idle time.Duration) (client.Listing, error)
	Read(ctx context.Context, address string, idle time.Duration) (io.ReadCloser, int64, error)

	// Draft makes the parts of an object for a deal, and says what the deal is to record. Nothing is paid yet.
	Draft(ctx context.Context, address string, how client.Pinning) (client.Draft, error)
}

// Node is what the API asks of the node itself.
type Node interface {
	Status(ctx context.Context) (client.Status, error)
	Peers(ctx context.Context) ([]client.Peer, error)
	Doctor(ctx context.Context) ([]client.Finding, error)
	Log(lines int) (io.ReadCloser, error)

	// Registration is what the owner of the node signs to register it on the chain; Register brings the signed one in. StepDown gives up
	// the node's seat, if it has one.
	Registration(ctx context.Context, owner string) (client.Enrolment, error)
	Register(ctx context.Context, e client.Enrolment) (client.Carried, error)
	StepDown(ctx context.Context) error

	// Offers asks the nodes around what a task of these resources costs now, the cheapest first.
	Offers(ctx context.Context, of job.Resources) ([]client.Offer, error)

	// Market is that for a task of the default size, and what this node knows of who sells. ForgetNode drops what it saw of one.
	Market(ctx context.Context) (client.Market, error)
	ForgetNode(ctx context.Context, node string) error

	Sharing
}

// Server is the API of one node.
type Server struct {
	log      *slog.Logger
	listener net.Listener
	http     *http.Server
	stop     context.CancelFunc // ends the streams
	jobs     Jobs
	content  Content
	node     Node
}

// New listens at once, so that a busy port is told before anything else starts, and serves from Serve on. metrics may be nil.
func New(log *slog.Logger, jobs Jobs, content Content, node Node, metrics http.Handler, cfg Config) (*Server, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", cfg.Address)
	if err != nil {
		return nil, busy(cfg.Address, err)
	}
	s := &Server{log: log, listener: l, jobs: jobs, content: content, node: node}
	mux := http.NewServeMux()
	s.routes(humago.New(mux, document(cfg.Version)))
	if metrics != nil {
		mux.Handle("GET /metrics", metrics)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, &job.Failure{Code: job.CodeNotFound, Message: "there is nothing at " + r.URL.Path, Hint: "see /openapi.json"})
	})
	_, port, _ := net.SplitHostPort(l.Addr().String()) // it is an address that the system wrote
	streams, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.http = &http.Server{
		Handler:           newGuard(port, cfg.Token, mux),
		ReadHeaderTimeout: 10 * time.Second,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return streams },
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return s, nil
}

func busy(address string, err error) error {
	return &job.Failure{
		Code:    job.CodeUnavailable,
		Message: fmt.Sprintf("the API cannot listen on %s: %v", address, err),
		Hint:    "another node may run already; choose another port with --api 127.0.0.1:PORT (0 = any free one)",
	}
}

// Addr is the host:port that the API listens on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Serve answers until ctx ends, then ends the streams and lets running requests finish for at most two seconds.
func (s *Server) Serve(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() { failed <- s.http.Serve(s.listener) }()
	select {
	case err := <-failed:
		s.stop()
		return fmt.Errorf("api serve: %w", err)
	case <-ctx.Done():
	}
	s.stop()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := s.http.Shutdown(grace); err != nil {
		_ = s.http.Close()
	}
	<-failed
	return ctx.Err()
}

// Close stops listening; it is for a server that never served.
func (s *Server) Close() error {
	s.stop()
	return s.http.Close()
}

// document is the frame of the OpenAPI document. Units are text in JSON, which reflection cannot see.
func document(version string) huma.Config {
	cfg := huma.DefaultConfig("HPIPS node", version)
	cfg.Info.Description = "The local API of an HPIPS node. Every failure is {error: {code, message, hint}}."
	cfg.DocsPath, cfg.SchemasPath = "", ""
	cfg.CreateHooks = nil // without the $schema links
	cfg.Transformers = []huma.Transformer{plainErrors}
	cfg.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}}
	cfg.Security = []map[string][]string{{"token": {}}}
	registry := huma.NewMapRegistry("#/components/schemas/", schemaName)
	cfg.Components.Schemas = registry
	registry.RegisterTypeAlias(reflect.TypeFor[job.Size](), reflect.TypeFor[string]())
	registry.RegisterTypeAlias(reflect.TypeFor[job.Duration](), reflect.TypeFor[string]())
	registry.RegisterTypeAlias(reflect.TypeFor[job.OrderedMap](), reflect.TypeFor[map[string][]string]())
	return cfg
}

// schemaName keeps the words of jobs apart from the words of nodes: both have a Status.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.PkgPath() == reflect.TypeFor[job.Spec]().PkgPath() {
		return "Job" + name
	}
	return name
}
