package api

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"github.com/hpips/hpips/api/client"
)

type ownedBy struct {
	Owner string `query:"owner" required:"true" maxLength:"90" doc:"account of the node's owner, hpips1…"`
}

type enrolment struct{ Body client.Enrolment }

func (s *Server) chainRoutes(api huma.API) {
	huma.Get(api, "/v1/chain/registration", func(ctx context.Context, in *ownedBy) (*answer[client.Enrolment], error) {
		return tell(s.node.Registration(ctx, in.Owner))
	}, named("registration", "What the owner signs to register this node on the chain"))
	huma.Post(api, "/v1/chain/registration", func(ctx context.Context, in *enrolment) (*answer[client.Carried], error) {
		return tell(s.node.Register(ctx, in.Body))
	}, named("register", "Bring a signed registration in, carried by a node that is registered"))
	huma.Post(api, "/v1/chain/stepdown", func(ctx context.Context, _ *struct{}) (*answer[none], error) {
		return tell(none{}, s.node.StepDown(ctx))
	}, named("stepdown", "Give up this node's seat, as before sleep"))
}
