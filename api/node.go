package api

import (
	"context"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/spec/job"
)

type linesOf struct {
	Lines int `query:"lines" default:"200" minimum:"1" maximum:"100000" doc:"the last so many lines"`
}

type resourcesOf struct {
	CPU          int    `query:"cpu" default:"1" minimum:"1" maximum:"1024" doc:"cores of one task"`
	Memory       int64  `query:"memory" default:"536870912" minimum:"0" doc:"bytes of one task"`
	Disk         int64  `query:"disk" default:"1073741824" minimum:"0" doc:"bytes of one task"`
	GPUs         int    `query:"gpus" default:"0" minimum:"0" maximum:"64" doc:"graphics devices of one task"`
	Vendor       string `query:"gpu_vendor" maxLength:"64" doc:"of each device: amd, intel or nvidia"`
	Model        string `query:"gpu_model" maxLength:"256" doc:"words of each device's name"`
	DeviceMemory int64  `query:"gpu_memory" default:"0" minimum:"0" doc:"bytes of each device"`
}

// resources are what the query asks for.
func (in resourcesOf) resources() job.Resources {
	return job.Resources{CPU: in.CPU, Memory: job.Size(in.Memory), Disk: job.Size(in.Disk), GPU: job.GPU{Count: in.GPUs, Vendor: in.Vendor, Model: in.Model, Memory: job.Size(in.DeviceMemory)}}
}

type byNode struct {
	Node string `path:"node" maxLength:"128" doc:"a node's peer ID"`
}

func (s *Server) nodeRoutes(api huma.API) {
	huma.Get(api, "/v1/status", func(ctx context.Context, _ *struct{}) (*answer[client.Status], error) {
		return tell(s.node.Status(ctx))
	}, named("status", "How the node is"))
	huma.Get(api, "/v1/peers", func(ctx context.Context, _ *struct{}) (*answer[[]client.Peer], error) {
		return tell(s.node.Peers(ctx))
	}, named("peers", "The nodes that this node is connected to"))
	huma.Get(api, "/v1/offers", func(ctx context.Context, in *resourcesOf) (*answer[[]client.Offer], error) {
		return tell(s.node.Offers(ctx, in.resources()))
	}, named("offers", "What the nodes around sell now, the cheapest first"))
	huma.Get(api, "/v1/market", func(ctx context.Context, _ *struct{}) (*answer[client.Market], error) {
		return tell(s.node.Market(ctx))
	}, named("market", "What is sold around this node now, and what it knows of who sells"))
	huma.Post(api, "/v1/standings/{node}/forget", func(ctx context.Context, in *byNode) (*answer[none], error) {
		return tell(none{}, s.node.ForgetNode(ctx, in.Node))
	}, named("forget-node", "Drop what this node saw of another one"))
	huma.Get(api, "/v1/doctor", func(ctx context.Context, _ *struct{}) (*answer[[]client.Finding], error) {
		return tell(s.node.Doctor(ctx))
	}, named("doctor", "The node examines itself"))
	huma.Get(api, "/v1/logs", func(_ context.Context, in *linesOf) (*huma.StreamResponse, error) {
		log, err := s.node.Log(in.Lines)
		if err != nil {
			return nil, fail(err)
		}
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			defer log.Close()
			ctx.SetHeader("Content-Type", "text/plain; charset=utf-8")
			ctx.SetStatus(http.StatusOK)
			if _, err := io.Copy(ctx.BodyWriter(), log); err != nil {
				s.log.Debug("log was not sent whole", "err", err)
			}
		}}, nil
	}, named("logs", "The end of the node's log"), func(op *huma.Operation) {
		op.Responses = map[string]*huma.Response{"200": {Description: "lines of text", Content: map[string]*huma.MediaType{
			"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}},
		}}}
	})
}
