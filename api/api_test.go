package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/spec/job"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeHouse is a node with one job, a1, that says "hello world" and is then settled, and one file.
type fakeHouse struct {
	specs   chan job.Spec
	stdin   chan string
	file    string
	present []client.Presence
	blocked chan struct{} // closed when a transfer without end has seen its end
}

func newFakeHouse() *fakeHouse {
	return &fakeHouse{specs: make(chan job.Spec, 8), stdin: make(chan string, 1), file: strings.Repeat("abc", 1<<16), blocked: make(chan struct{})}
}

func missing(id string) error {
	return &job.Failure{Code: job.CodeNotFound, Message: "no job " + id, Hint: "hpips job ls"}
}

func (h *fakeHouse) Submit(_ context.Context, s job.Spec, _ bool) (string, error) {
	h.specs <- s
	return "a1", nil
}
func (h *fakeHouse) Preview(context.Context, job.Spec) (job.Why, error) {
	return job.Why{Asked: 3, Accepted: 2}, nil
}
func (h *fakeHouse) Jobs(context.Context) ([]job.Status, error) {
	return []job.Status{{Job: "a1", State: job.Settled}}, nil
}
func (h *fakeHouse) Job(_ context.Context, id string) (job.Status, error) {
	if id != "a1" {
		return job.Status{}, missing(id)
	}
	return job.Status{Job: "a1", State: job.Running}, nil
}
func (h *fakeHouse) Watch(_ context.Context, id string) (<-chan job.Status, error) {
	if id != "a1" {
		return nil, missing(id)
	}
	c := make(chan job.Status, 2)
	c <- job.Status{Job: id, State: job.Running}
	c <- job.Status{Job: id, State: job.Settled}
	close(c)
	return c, nil
}
func (h *fakeHouse) Output(_ context.Context, id string) (<-chan job.Chunk, error) {
	if id != "a1" {
		return nil, missing(id)
	}
	c := make(chan job.Chunk, 2)
	c <- job.Chunk{FD: 1, Data: []byte("hello ")}
	c <- job.Chunk{FD: 1, Offset: 6, Data: []byte("world")}
	close(c)
	return c, nil
}
func (h *fakeHouse) Stdin(_ context.Context, id string, r io.Reader) error {
	if id != "a1" {
		return missing(id)
	}
	text, err := io.ReadAll(r)
	h.stdin <- string(text)
	return err
}
func (h *fakeHouse) Cancel(_ context.Context, id string) error {
	if id != "a1" {
		return missing(id)
	}
	return nil
}
func (h *fakeHouse) Rerun(_ context.Context, id string) (string, error) {
	if id != "a1" {
		return "", missing(id)
	}
	return "b2", nil
}
func (h *fakeHouse) Why(_ context.Context, id string) (job.Why, error) {
	return job.Why{Job: id, Summary: "it runs"}, nil
}
func (h *fakeHouse) Logs(_ context.Context, id string, task int64) ([]job.Log, error) {
	if id != "a1" {
		return nil, missing(id)
	}
	return []job.Log{{Task: uint64(max(task, 0)), Stderr: "oh"}}, nil
}

func (h *fakeHouse) Add(_ context.Context, r io.Reader) (client.Entry, error) {
	text, err := io.ReadAll(r)
	return client.Entry{CID: "bafy", Size: int64(len(text)), Kind: "file"}, err
}
func (h *fakeHouse) Import(ctx context.Context, path string, progress func(client.Progress)) (client.Entry, error) {
	switch path {
	case "/missing":
		return client.Entry{}, &job.Failure{Code: job.CodeNotFound, Message: "/missing is not there"}
	case "/endless":
		progress(client.Progress{Bytes: 1})
		<-ctx.Done()
		close(h.blocked)
		return client.Entry{}, ctx.Err()
	}
	progress(client.Progress{Files: 1, Bytes: 5, Total: 10})
	return client.Entry{CID: "bafy", Size: 10, Kind: "file"}, nil
}
func (h *fakeHouse) Export(_ context.Context, address string, to client.Export, _ func(client.Progress)) (client.Entry, error) {
	return client.Entry{CID: address, Name: to.Path}, nil
}
func (h *fakeHouse) Draft(_ context.Context, address string, how client.Pinning) (client.Draft, error) {
	return client.Draft{CID: address, Need: how.Need, Parts: how.Parts}, nil
}
func (h *fakeHouse) List(_ context.Context, address string, _ time.Duration) (client.Listing, error) {
	return client.Listing{Entry: client.Entry{CID: address, Kind: "directory"}, Entries: []client.Entry{{Name: "a", CID: "x", Size: 3, Kind: "file"}}}, nil
}
func (h *fakeHouse) Read(_ context.Context, address string, _ time.Duration) (io.ReadCloser, int64, error) {
	if address == "short" { // the disk breaks half-way
		return io.NopCloser(strings.NewReader("half")), 8, nil
	}
	return io.NopCloser(strings.NewReader(h.file)), int64(len(h.file)), nil
}

func (h *fakeHouse) Status(context.Context) (client.Status, error) {
	return client.Status{Version: "test", Node: "alice"}, nil
}
func (h *fakeHouse) Peers(context.Context) ([]client.Peer, error) {
	return []client.Peer{{Node: "bob"}}, nil
}
func (h *fakeHouse) Doctor(context.Context) ([]client.Finding, error) {
	return []client.Finding{{Name: "disk", State: "ok"}}, nil
}
func (h *fakeHouse) Registration(_ context.Context, owner string) (client.Enrolment, error) {
	return client.Enrolment{Word: []byte("word for " + owner)}, nil
}
func (h *fakeHouse) Register(_ context.Context, e client.Enrolment) (client.Carried, error) {
	if len(e.Owner) == 0 {
		return client.Carried{}, &job.Failure{Code: job.CodeUsage, Message: "the owner has not signed"}
	}
	return client.Carried{Tx: "AB"}, nil
}
func (h *fakeHouse) StepDown(context.Context) error { return nil }
func (h *fakeHouse) Offers(_ context.Context, of job.Resources) ([]client.Offer, error) {
	return []client.Offer{{Provider: "12D3", Slots: of.CPU, Hour: uint64(of.Memory)}}, nil
}
func (h *fakeHouse) Market(context.Context) (client.Market, error) {
	return client.Market{Offers: []client.Offer{}, Convicted: []string{}, Standings: []client.Standing{{Node: "bob", Score: 0.5, Verified: true, Records: []client.Record{{Class: "amd64", Wrong: 1}}}}}, nil
}
func (h *fakeHouse) ForgetNode(_ context.Context, node string) error {
	if node != "bob" {
		return missing(node)
	}
	return nil
}
func (h *fakeHouse) Cost(_ context.Context, id string) (job.Cost, error) {
	if id != "a1" {
		return job.Cost{}, missing(id)
	}
	return job.Cost{Job: id, Promised: 7, Leases: []job.LeaseCost{}}, nil
}
func (h *fakeHouse) Share(context.Context) (client.Share, error) {
	return client.Share{Sentence: "It shares."}, nil
}
func (h *fakeHouse) Meters(context.Context) (client.Meters, error) {
	return client.Meters{Seconds: 0.5, Cores: 8, CPU: client.Use{Ours: new(0.25)}, Memory: client.MemoryUse{Use: client.Use{Others: new(3e9)}, Total: new(16e9)}}, nil
}
func (h *fakeHouse) Pause(_ context.Context, d time.Duration) (client.Share, error) {
	return client.Share{Sentence: "paused for " + d.String()}, nil
}
func (h *fakeHouse) Resume(context.Context) (client.Share, error) {
	return client.Share{Sentence: "resumed"}, nil
}
func (h *fakeHouse) Finish(context.Context) (client.Share, error) {
	return client.Share{Sentence: "finishing", Finish: true}, nil
}
func (h *fakeHouse) Present(_ context.Context, p client.Presence) error {
	h.present = append(h.present, p)
	return nil
}
func (h *fakeHouse) Log(int) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("line\n")), nil
}

func TestAliceAsksAndIsAnswered(t *testing.T) {
	house := newFakeHouse()
	c := client.New(serve(t, house), token)
	defer c.Close()
	ctx := t.Context()

	spec := job.Spec{Kind: job.Map, Run: job.Run{WASM: "bafymodule"}, Over: &job.Over{Matrix: job.OrderedMap{{Name: "x", Values: []string{"1", "2"}}}}}
	id, err := c.Submit(ctx, spec, true)
	if err != nil || id != "a1" {
		t.Fatalf("submit: %q, %v", id, err)
	}
	if got := <-house.specs; got.Limits.Time != job.DefaultTime || len(got.Over.Matrix) != 1 || len(got.Over.Matrix[0].Values) != 2 {
		t.Errorf("the specification did not come through, filled: %+v", got)
	}
	if why, err := c.Preview(ctx, spec); err != nil || why.Accepted != 2 {
		t.Errorf("preview: %+v, %v", why, err)
	}
	if jobs, err := c.Jobs(ctx); err != nil || len(jobs) != 1 {
		t.Errorf("jobs: %v, %v", jobs, err)
	}
	if logs, err := c.Logs(ctx, "a1", 7); err != nil || logs[0].Task != 7 {
		t.Errorf("logs: %v, %v", logs, err)
	}
	if cost, err := c.Cost(ctx, "a1"); err != nil || cost.Promised != 7 {
		t.Errorf("cost: %+v, %v", cost, err)
	}
	if offers, err := c.Offers(ctx, job.Resources{CPU: 3, Memory: 1 << 30}); err != nil || len(offers) != 1 || offers[0].Slots != 3 || offers[0].Hour != 1<<30 {
		t.Errorf("offers: %+v, %v", offers, err)
	}
	if m, err := c.Market(ctx); err != nil || len(m.Standings) != 1 || m.Standings[0].Score != 0.5 || m.Standings[0].Records[0].Wrong != 1 {
		t.Errorf("market: %+v, %v", m, err)
	}
	if err := c.ForgetNode(ctx, "bob"); err != nil {
		t.Errorf("forget: %v", err)
	}
	if err := c.ForgetNode(ctx, "a/b"); err == nil {
		t.Error("a node that is not known is forgotten")
	}
	if id, err := c.Rerun(ctx, "a1"); err != nil || id != "b2" {
		t.Errorf("rerun: %q, %v", id, err)
	}
	if err := c.Cancel(ctx, "a1"); err != nil {
		t.Errorf("cancel: %v", err)
	}
	if err := c.Stdin(ctx, "a1", strings.NewReader("typed")); err != nil || <-house.stdin != "typed" {
		t.Errorf("stdin: %v", err)
	}
	var f *job.Failure
	if _, err := c.Job(ctx, "zzz"); !errors.As(err, &f) || f.Code != job.CodeNotFound || f.Hint == "" {
		t.Errorf("a job that is not there: %v", err)
	}
}

func TestTheOwnerIsInCharge(t *testing.T) {
	house := newFakeHouse()
	c := client.New(serve(t, house), token)
	defer c.Close()
	ctx := t.Context()
	for want, ask := range map[string]func() (client.Share, error){
		"It shares.":        func() (client.Share, error) { return c.Share(ctx) },
		"paused for 2h0m0s": func() (client.Share, error) { return c.Pause(ctx, 2*time.Hour) },
		"paused for 0s":     func() (client.Share, error) { return c.Pause(ctx, 0) },
		"resumed":           func() (client.Share, error) { return c.Resume(ctx) },
		"finishing":         func() (client.Share, error) { return c.Finish(ctx) },
	} {
		if s, err := ask(); err != nil || s.Sentence != want {
			t.Errorf("%+v, %v: want %q", s, err, want)
		}
	}
	m, err := c.Meters(ctx)
	if err != nil || m.CPU.Ours == nil || *m.CPU.Ours != 0.25 || m.CPU.Others != nil || m.Memory.Others == nil || *m.Memory.Total != 16e9 || m.Network.Sent.Ours != nil || m.Battery != nil {
		t.Errorf("%+v, %v", m, err)
	}
	if err := c.Report(ctx, client.Presence{Idle: 1.5}); err != nil {
		t.Errorf("presence: %v", err)
	}
	var f *job.Failure
	if err := c.Report(ctx, client.Presence{Idle: -1}); !errors.As(err, &f) || f.Code != job.CodeUsage {
		t.Errorf("a negative time: %v", err)
	}
	if _, err := c.Pause(ctx, -time.Hour); !errors.As(err, &f) || f.Code != job.CodeUsage {
		t.Errorf("a negative pause: %v", err)
	}
	if len(house.present) != 1 || house.present[0].Idle != 1.5 {
		t.Errorf("reports: %+v", house.present)
	}
	stranger := client.New(serve(t, house), strings.Repeat("z", len(token)))
	defer stranger.Close()
	if err := stranger.Report(ctx, client.Presence{}); err == nil {
		t.Error("a program without the token reports")
	}
}

func TestAJobIsWatchedAndReadFromAnOffset(t *testing.T) {
	c := client.New(serve(t, newFakeHouse()), token)
	defer c.Close()
	var states []job.State
	if err := c.Watch(t.Context(), "a1", func(s job.Status) error { states = append(states, s.State); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(states) != 2 || states[1] != job.Settled {
		t.Errorf("states: %v", states)
	}
	for offset, want := range map[int64]string{0: "hello world", 3: "lo world", 6: "world", 8: "rld", 11: "", 50: ""} {
		var out bytes.Buffer
		if err := c.Output(t.Context(), "a1", offset, 0, func(ch job.Chunk) error { out.Write(ch.Data); return nil }); err != nil {
			t.Fatal(err)
		}
		if out.String() != want {
			t.Errorf("from %d: %q, want %q", offset, out.String(), want)
		}
	}
}

func TestContentComesAndGoes(t *testing.T) {
	house := newFakeHouse()
	c := client.New(serve(t, house), token)
	defer c.Close()
	ctx := t.Context()
	if e, err := c.Put(ctx, "/some/file", nil); err != nil || e.CID != "bafy" {
		t.Errorf("put: %+v, %v", e, err)
	}
	var f *job.Failure
	if _, err := c.Put(ctx, "/missing", nil); !errors.As(err, &f) || f.Code != job.CodeNotFound {
		t.Errorf("put of nothing: %v", err)
	}
	big := strings.NewReader(strings.Repeat("x", maxBody+1)) // content has no limit of size
	if e, err := c.PutBytes(ctx, big); err != nil || e.Size != maxBody+1 {
		t.Errorf("put bytes: %+v, %v", e, err)
	}
	if e, err := c.Get(ctx, "bafy", client.Export{Path: "/out"}, nil); err != nil || e.Name != "/out" {
		t.Errorf("get: %+v, %v", e, err)
	}
	if l, err := c.List(ctx, "bafy", time.Second); err != nil || len(l.Entries) != 1 || l.CID != "bafy" {
		t.Errorf("list: %+v, %v", l, err)
	}
	r, err := c.Read(ctx, "bafy", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if text, err := io.ReadAll(r); err != nil || string(text) != house.file {
		t.Errorf("read %d bytes: %v", len(text), err)
	}
}

func TestAFileThatBreaksOffIsNotTakenForWhole(t *testing.T) {
	c := client.New(serve(t, newFakeHouse()), token)
	defer c.Close()
	r, err := c.Read(t.Context(), "short", time.Second)
	if err != nil {
		return // it broke off before the first byte left: told at once
	}
	defer r.Close()
	if text, err := io.ReadAll(r); err == nil {
		t.Errorf("%q was taken for the whole", text)
	}
}

func TestATransferEndsWithItsReader(t *testing.T) {
	house := newFakeHouse()
	c := client.New(serve(t, house), token)
	defer c.Close()
	ctx, leave := context.WithCancel(t.Context())
	_, err := c.Put(ctx, "/endless", func(client.Progress) { leave() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("put: %v", err)
	}
	<-house.blocked
}

func TestTheDocumentNamesEveryPath(t *testing.T) {
	addr := serve(t, newFakeHouse())
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/openapi.json", nil)
	req.Header.Set("Authorization", "Bearer "+token)
	_, body := send(t, req)
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			Summary     string
			OperationID string
			Responses   map[string]any
		}
	}
	if err := json.Unmarshal(body, &doc); err != nil || !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Fatalf("%v: OpenAPI %q", err, doc.OpenAPI)
	}
	if len(doc.Paths) < 18 {
		t.Errorf("only %d paths", len(doc.Paths))
	}
	for path, operations := range doc.Paths {
		for method, op := range operations {
			if op.Summary == "" || op.OperationID == "" || op.Responses["default"] == nil {
				t.Errorf("%s %s is not described: %+v", method, path, op)
			}
		}
	}
}

func TestUnitsStandAsText(t *testing.T) {
	addr := serve(t, newFakeHouse())
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/openapi.json", nil)
	req.Header.Set("Authorization", "Bearer "+token)
	_, body := send(t, req)
	if !bytes.Contains(body, []byte(`"memory":{"type":"string"}`)) {
		t.Errorf("a size is not described as the text that it is in JSON")
	}
}
