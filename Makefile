# Everything here is also what CI does (.ci/run).

GO ?= go
VERSION ?=
FUZZTIME ?= 10s

.PHONY: build test race lint faults fuzz integration bench microbench settings image clean

build: ## the program, as it is released
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-X main.version=$(VERSION)" -o stasis ./cmd/stasis

test: ## all tests
	$(GO) test -race -shuffle=on -timeout 70m ./...

lint: ## formatting, vet and the linters of .golangci.yml
	sh .ci/lint

faults: ## every promise of docs/reliability.md in its long form; FAULTS="-short F4" for less
	$(GO) run ./integration/faults $(FAULTS)

fuzz: ## every fuzz target for FUZZTIME
	sh .ci/fuzz $(FUZZTIME)

integration: ## the built program with real Composer, which must be installed
	STASIS_REQUIRE_COMPOSER=1 $(GO) test -count=1 ./integration/...

# docs/benchmarks.md has everything but growth; chosen parts go to a page of their own.
comma := ,
BENCH_PAGE = docs/benchmarks$(if $(PARTS),-$(subst $(comma),-,$(PARTS))).md

bench: ## Stasis beside nginx and bare net/http, to docs/benchmarks.md; PARTS=growth for docs/benchmarks-growth.md
	$(GO) run ./integration/bench -out $(BENCH_PAGE) $(if $(PARTS),-parts $(PARTS)) $(BENCH)

microbench: ## the benchmarks beside the code that they measure
	$(GO) test -run '^$$' -bench . ./...

settings: ## the settings tables in README.md and docs/configuration.md, from config/config.go
	$(GO) test ./config -run TestDocumentation -update

image: ## the container image
	docker build --build-arg VERSION=$(VERSION) -t stasis .

clean:
	rm -f stasis
