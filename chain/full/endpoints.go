package full

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/cosmos/cosmos-sdk/client"
	"github.com/cosmos/cosmos-sdk/server/api"
	serverconfig "github.com/cosmos/cosmos-sdk/server/config"
	servergrpc "github.com/cosmos/cosmos-sdk/server/grpc"
	"google.golang.org/grpc"

	"github.com/hpips/hpips/chain"
)

// endpoints are the ways in for ordinary wallets and tools. Pages in browsers get no answer unless the owner named their origin: see fenced.
type endpoints struct {
	rpc, grpc, rest net.Listener
	rpcServe        func() error
	grpcServer      *grpc.Server
	restServer      *http.Server
}

func openEndpoints(n *Node) (*endpoints, error) {
	e := &endpoints{}
	if err := e.open(n); err != nil {
		return nil, errors.Join(fmt.Errorf("chain endpoints: %w", err), e.close())
	}
	return e, nil
}

func (e *endpoints) open(n *Node) error {
	codec, c := n.app.Codec(), n.config
	ctx := client.Context{}.WithClient(n.engine.client).WithChainID(c.Doc.ChainID).WithCodec(codec.Codec).
		WithInterfaceRegistry(codec.Registry).WithTxConfig(codec.Tx).WithLegacyAmino(codec.Amino)
	n.app.RegisterTxService(ctx)
	n.app.RegisterTendermintService(ctx)
	settings := serverconfig.DefaultConfig()
	settings.MinGasPrices = c.MinGas
	n.app.RegisterNodeService(ctx, *settings)
	if c.RPC != "" {
		if err := e.openRPC(n.engine, c.RPC, c.Origins, engineLog{sdkLog{n.log}}); err != nil {
			return err
		}
		n.engine.rpc = address(e.rpc)
	}
	if c.GRPC != "" {
		if err := e.openGRPC(n.app, ctx, c.GRPC, settings.GRPC); err != nil {
			return err
		}
	}
	if c.REST == "" {
		return nil
	}
	var err error
	if e.rest, err = net.Listen("tcp", c.REST); err != nil {
		return fmt.Errorf("REST: %w", err)
	}
	gateway := api.New(ctx, sdkLog{n.log}, e.grpcServer)
	n.app.RegisterAPIRoutes(gateway, settings.API)
	e.restServer = &http.Server{
		Handler: fenced(e.rest, c.Origins, http.MaxBytesHandler(gateway.GRPCGatewayRouter, 1<<20)), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 1 << 16,
	}
	return nil
}

func (e *endpoints) openGRPC(app *chain.App, ctx client.Context, address string, settings serverconfig.GRPCConfig) error {
	var err error
	if e.grpc, err = net.Listen("tcp", address); err != nil {
		return fmt.Errorf("gRPC: %w", err)
	}
	e.grpcServer, err = servergrpc.NewGRPCServer(ctx, app, settings)
	return err
}

// serve answers until ctx is done.
func (e *endpoints) serve(ctx context.Context, fail func(error)) {
	var all sync.WaitGroup
	if e.rpcServe != nil {
		all.Go(func() {
			if err := e.rpcServe(); err != nil && !errors.Is(err, net.ErrClosed) {
				fail(fmt.Errorf("chain RPC: %w", err))
			}
		})
	}
	if e.grpcServer != nil {
		all.Go(func() {
			if err := e.grpcServer.Serve(e.grpc); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
				fail(fmt.Errorf("chain gRPC: %w", err))
			}
		})
	}
	if e.restServer != nil {
		all.Go(func() {
			if err := e.restServer.Serve(e.rest); err != nil && !errors.Is(err, http.ErrServerClosed) {
				fail(fmt.Errorf("chain REST: %w", err))
			}
		})
	}
	<-ctx.Done()
	if e.rpc != nil {
		_ = e.rpc.Close() // the engine's server ends with its listener
	}
	if e.grpcServer != nil {
		e.grpcServer.Stop()
	}
	if e.restServer != nil {
		if err := e.restServer.Close(); err != nil {
			fail(fmt.Errorf("chain REST: %w", err))
		}
	}
	all.Wait()
}

// close lets go of the ports.
func (e *endpoints) close() error {
	var all []error
	for _, l := range []net.Listener{e.rpc, e.grpc, e.rest} {
		if l == nil {
			continue
		}
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}

func (e *endpoints) grpcAddress() string { return address(e.grpc) }
func (e *endpoints) restAddress() string { return address(e.rest) }

func address(l net.Listener) string {
	if l == nil {
		return ""
	}
	return l.Addr().String()
}
