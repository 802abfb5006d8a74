# HPIPS: `make` prints what can be made. Go 1.26, git and make are all that must be there before.
SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS   += --no-print-directory
.DEFAULT_GOAL := help

GO      ?= go
VERSION := $(shell test -e .git && git describe --tags --always --dirty 2>/dev/null || echo dev)
# CHECKPOINT is a block that joiners of a release may trust, GENESIS:HEIGHT:HASH: the SHA-256 of the chain's genesis and what hpips chain snapshot -q prints.
CHECKPOINT ?=
LDFLAGS := -s -w -X github.com/hpips/hpips/cli.Version=$(VERSION) $(if $(CHECKPOINT),-X github.com/hpips/hpips/cli.Checkpoint=$(CHECKPOINT))

export CGO_ENABLED ?= 0
export GOFLAGS     := -buildvcs=false -trimpath
# Nodes of tests share this PC also while somebody is at it.
export HPIPS_PRESENCE ?= headless

.PHONY: help setup go demo test long bench soak lint gen ui e2e build hpips examples clean

help: ## print this help
	@echo "HPIPS $(VERSION)"
	@sed -n 's/^\([a-z0-9]*\):[^#]*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: build ## run the main job: two jobs on five nodes of a private network on this machine
	@bin/hpips demo $(ARGS)

test: ## install what the tests need, then pass them (lint, unit, race, end to end)
	@etc/test.sh

long: ## pass those that take another half an hour (sandboxes, faults, liars, other systems)
	@etc/test.sh long

bench: setup build ## measure; the figures of docs/performance.md and docs/trust.md
	HPIPS_BIN=$(CURDIR)/bin/hpips $(GO) test ./test/bench -count=1 -v -timeout 60m -args -full

soak: setup build ## run the long tests with their full counts
	@etc/setup.sh soak
	$(GO) test ./spec/meter -run Alike -count=1 -v -timeout 60m -args -modules 1000
	$(GO) test ./store -run 'ADiskThatSpoils|KilledAtAny' -count=1 -v -timeout 60m -args -harm 10000 -kills 100
	$(GO) test ./engine/process -run NothingIsLeft -count=1 -v -timeout 30m -args -starts 2000
	$(GO) test ./engine/container -run NothingIsLeft -count=1 -v -timeout 30m -args -starts 200
	$(GO) test ./engine/wasm -run NothingIsLeft -count=1 -v -timeout 30m -args -starts 10000
	$(GO) test ./engine/process ./engine/wasm -p 1 -run Hostile -count=1 -v -timeout 60m
	$(GO) test ./engine/container -run Hostile -count=1 -v -timeout 60m -args -every 1
	$(GO) test ./engine/process -run TestShareOfTheProcessor -count=1 -v -timeout 10m -args -window 30s
	$(GO) test ./test/vm -count=1 -v -timeout 200m -args -soak
	CGO_ENABLED=1 $(GO) test -race ./node -count=1 -timeout 30m
	HPIPS_BIN=$(CURDIR)/bin/hpips $(GO) test -p 1 ./test/chaos ./test/swarm ./test/e2e -count=1 -v -timeout 180m -args -soak
	$(GO) test -tags lies ./test/swarm -run 'TestSoak(Liars|Jurors|Fellows|WithoutAJury)' -count=1 -v -timeout 600m -args -soak

lint: go ## look for faults and for arrows between rooms that point up
	$(GO) tool -modfile=etc/tools/go.mod golangci-lint run ./...

gen: go ## write generated code anew
	$(GO) generate ./...

ui: ## build the page
	@if [ -f ui/web/package.json ]; then cd ui/web && npm ci && npm run build; else echo "ui: no page in this version"; fi

e2e: build ## run the end-to-end tests alone
	HPIPS_BIN=$(CURDIR)/bin/hpips $(GO) test ./test/e2e/... -count=1 -timeout 15m

build: hpips examples ## write bin/hpips and examples/NAME/NAME.wasm

clean: ## remove what was built
	rm -rf bin examples/*/*.wasm examples/hello-as/node_modules

hpips: go
	@$(GO) build -trimpath -ldflags "$(LDFLAGS)" -o bin/hpips ./cmd/hpips

examples: go
	@GO=$(GO) etc/examples.sh

setup: go
	@etc/setup.sh

go:
	@$(GO) version >/dev/null 2>&1 || { echo "make: the Go toolchain is missing: install Go 1.26 or newer from https://go.dev/dl" >&2; exit 1; }
