package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/spec/job"
)

// failure is an error as a handler returns it: a body and a status.
type failure struct {
	client.ErrorBody
	status int
}

func (f *failure) Error() string  { return f.ErrorBody.Error.Message }
func (f *failure) GetStatus() int { return f.status }

// fail turns any error into what is answered: words for people keep theirs, all others become internal.
func fail(err error) error {
	if err == nil {
		return nil
	}
	f := AsFailure(err)
	return &failure{ErrorBody: client.ErrorBody{Error: *f}, status: statusOf(f.Code)}
}

// AsFailure finds the words for people in err.
func AsFailure(err error) *job.Failure {
	var f *job.Failure
	if errors.As(err, &f) {
		return f
	}
	var spec *job.Error
	if errors.As(err, &spec) {
		return &job.Failure{Code: job.CodeUsage, Message: spec.Error(), Hint: spec.Hint}
	}
	var big *http.MaxBytesError
	switch {
	case errors.As(err, &big):
		return &job.Failure{Code: job.CodeUsage, Message: "the request is larger than " + strconv.FormatInt(big.Limit, 10) + " bytes"}
	case errors.Is(err, context.Canceled):
		return &job.Failure{Code: job.CodeUnavailable, Message: "the node is stopping, or the request was given up", Hint: "try again"}
	case errors.Is(err, context.DeadlineExceeded):
		return &job.Failure{Code: job.CodeUnavailable, Message: err.Error(), Hint: "try again with a longer --timeout"}
	}
	return &job.Failure{Code: job.CodeInternal, Message: err.Error(), Hint: "see hpips node logs"}
}

func statusOf(code job.Code) int {
	switch code {
	case job.CodeUsage, job.CodeProgram:
		return http.StatusUnprocessableEntity
	case job.CodeNotFound:
		return http.StatusNotFound
	case job.CodeUnavailable, job.CodeUnplaceable:
		return http.StatusServiceUnavailable
	case job.CodeInternal:
		return http.StatusInternalServerError
	}
	return http.StatusConflict
}

// refuse answers with a failure outside of huma.
func refuse(w http.ResponseWriter, status int, f *job.Failure) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(client.ErrorBody{Error: *f}) // nobody is left to tell
}

// plainErrors gives huma's own errors (validation, negotiation) the shape of all others.
func plainErrors(_ huma.Context, status string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	words := []string{m.Detail}
	for _, e := range m.Errors {
		words = append(words, strings.TrimSpace(e.Location+" "+e.Message))
	}
	code := job.CodeUsage
	if strings.HasPrefix(status, "5") {
		code = job.CodeInternal
	}
	return &client.ErrorBody{Error: job.Failure{Code: code, Message: strings.Join(words, ": "), Hint: "see /openapi.json"}}, nil
}
