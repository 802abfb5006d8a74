package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/hpips/hpips/store/gateway"
)

// openGateway opens the gateway of the first node, if the owner wants one. Its figures are kept for metrics.
func (h *House) openGateway() error {
	cfg := h.cfg.Gateway
	if cfg.Address == "" {
		return nil
	}
	m := h.first()
	h.served = prometheus.NewRegistry()
	g, err := gateway.New(h.log.With("room", "gateway"), m.store, gateway.Parts{Metrics: h.served}, cfg)
	if err != nil {
		return asUsage(err, "choose another address with --gateway, such as --gateway 127.0.0.1:0")
	}
	h.gateway = g
	h.opened(g.Close)
	return nil
}

// GatewayURL is where content is served over HTTP; empty: nowhere.
func (h *House) GatewayURL() string {
	if h.gateway == nil {
		return ""
	}
	return h.gateway.URL()
}
