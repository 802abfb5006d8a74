package api

import (
	"context"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/hpips/hpips/api/client"
)

// Sharing is what the API asks of the node about what its PC shares.
type Sharing interface {
	Share(ctx context.Context) (client.Share, error)
	Meters(ctx context.Context) (client.Meters, error)
	Pause(ctx context.Context, d time.Duration) (client.Share, error) // 0: until it is resumed
	Resume(ctx context.Context) (client.Share, error)
	Finish(ctx context.Context) (client.Share, error)
	Present(ctx context.Context, p client.Presence) error
}

func (s *Server) shareRoutes(api huma.API) {
	huma.Get(api, "/v1/share", func(ctx context.Context, _ *struct{}) (*answer[client.Share], error) {
		return tell(s.node.Share(ctx))
	}, named("share", "What this PC shares now, and why, or why not"))
	huma.Get(api, "/v1/share/meters", func(ctx context.Context, _ *struct{}) (*answer[client.Meters], error) {
		return tell(s.node.Meters(ctx))
	}, named("share-meters", "What of this PC is used, by HPIPS and by others; it takes half a second where it was not asked within ten"))
	huma.Post(api, "/v1/share/pause", func(ctx context.Context, in *struct{ Body client.PauseFor }) (*answer[client.Share], error) {
		return tell(s.node.Pause(ctx, time.Duration(in.Body.Seconds)*time.Second))
	}, named("pause-sharing", "Everything stands still for a while, or until it is resumed"))
	huma.Post(api, "/v1/share/resume", func(ctx context.Context, _ *struct{}) (*answer[client.Share], error) {
		return tell(s.node.Resume(ctx))
	}, named("resume-sharing", "End a pause, and finishing"))
	huma.Post(api, "/v1/share/finish", func(ctx context.Context, _ *struct{}) (*answer[client.Share], error) {
		return tell(s.node.Finish(ctx))
	}, named("finish-sharing", "Leases come to their end, then it is paused"))
	huma.Put(api, "/v1/presence", func(ctx context.Context, in *struct{ Body client.Presence }) (*answer[none], error) {
		return tell(none{}, s.node.Present(ctx, in.Body))
	}, named("presence", "A program in the owner's session reports whether somebody is there"))
}
