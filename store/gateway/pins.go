package gateway

import "net/http"

type Pins struct{}

func (*Pins) ServeHTTP(http.ResponseWriter, *http.Request) {}
