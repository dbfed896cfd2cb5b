# `make help` says what there is. On a fresh machine a Rust toolchain, a C compiler and make are enough:
# what else a target needs it installs, as root with apt-get; otherwise it prints the line to run, and fails.

SHELL := /bin/sh
.DEFAULT_GOAL := help
export DEBIAN_FRONTEND := noninteractive

# $(call install,WHAT IS MISSING,DEBIAN PACKAGES): a shell command.
install = if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing $(2), for $(1)"; \
		apt-get update -qq </dev/null && apt-get install -y -qq --no-install-recommends $(2) </dev/null >/dev/null; \
	else \
		echo "missing: $(1). Run this, and then make again:" >&2; \
		echo "    sudo apt-get update && sudo apt-get install -y $(2)" >&2; \
		exit 1; \
	fi

# Where cargo builds to, for a shell.
target = $$(cargo metadata --format-version 1 --no-deps --locked | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')

.PHONY: help
help: ## This list
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/  make \1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
		while IFS='|' read -r target text; do printf '%-14s %s\n' "$$target" "$$text"; done

.PHONY: test
test: rust-tools test-tools ## Format check, clippy with warnings denied, every Rust test, a short run of each fuzz target
	cargo fmt --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo clippy --all-targets --locked -- -D warnings
	cargo test --locked
	$(MAKE) fuzz

# Each target runs that long.
FUZZ_SECONDS ?= 5

.PHONY: fuzz
fuzz: rust-tools fuzz-tools ## Every fuzz target of fuzz/src for FUZZ_SECONDS, guided by coverage
	fuzz/run.sh $(FUZZ_SECONDS)

# How long a rotation runs; a flood or a crowd runs half a minute of it at most. All of it takes half an hour at
# most on two cores, behind the build. Each of these tests runs a short form in `make test`:
#   rotation, replicas   an exclusive token that changes under full load, on one process and on replicas
#   row 01               2,000 crafted requests a second of it, judged by servers of other habits
#   row 17               floods of HTTP/2 frames beside others' requests, half a minute a kind
#   row 18               5,000 slow connections beside others' requests
#   row 24               a configuration cut at each byte, and hostile ones, under load
#   row 25               1,000 reloads under 500 requests a second
#   row 26               100 swaps of a secret under load
#   row 28               a vendor that refuses, as long as a rotation
#   row 30               kills between a refresh token's answer and its keeping
#   row 34               10,000 requests that wait for a token that does not come
#   row 35               restarts under load
SOAK_SECONDS ?= 60
SOAK ?= rotation:: replicas:: threats::row_01 threats::row_17 threats::row_18 threats::row_24 threats::row_25 threats::row_26 threats::row_28 threats::row_30 threats::row_34 threats::row_35

.PHONY: soak
soak: rust-tools test-tools ## What takes minutes: tokens, configurations and secrets that change under full load, floods, 5,000 slow clients, restarts, each fuzz target
	@log=$$(mktemp) && status=$$(mktemp) && trap 'rm -f "$$log" "$$status"' EXIT && \
	{ TOKENFERRY_SOAK_SECONDS=$(SOAK_SECONDS) cargo test --profile soak --locked --test tests -- \
		$(SOAK) --nocapture --test-threads=1; echo $$? >"$$status"; } 2>&1 | tee "$$log"; \
	echo; echo "Figures:"; grep -o 'soak: .*' "$$log" | sed 's/^soak: /  /'; \
	grep -E '^test result' "$$log"; exit "$$(cat "$$status")"
	$(MAKE) fuzz FUZZ_SECONDS=$(SOAK_SECONDS)

.PHONY: e2e
e2e: rust-tools .venv/installed ## Real foreign programs against the built binary, a browser among them; systemd's, promtool's and Kubernetes' view of deploy/
	target=$(target)/debug && \
	cargo rustc --locked --bin tokenferry -- -C target-feature=+crt-static && \
	cp "$$target/tokenferry" "$$target/tokenferry-static" && \
	cargo build --locked && \
	TOKENFERRY_BIN="$$target/tokenferry" TOKENFERRY_STATIC_BIN="$$target/tokenferry-static" PYTHONDONTWRITEBYTECODE=1 \
		.venv/bin/python -m pytest tests/e2e $(ARGS)

# The proxy as it is released, and the harness by what is built sooner: it does no more than drive it.
.PHONY: bench
bench: rust-tools bench-tools ## What must hold of speed and memory, beside nginx and HAProxy; options in ARGS="--scenario get-1k --rounds 7"
	target=$(target) && \
	triple=$$(rustc -vV | sed -n 's/^host: //p') && \
	benches/pgo/use.sh cargo build --locked --release --bin tokenferry && \
	TOKENFERRY_BIN="$$target/$$triple/release/tokenferry" cargo bench --locked --profile soak --bench load -- $(ARGS)

.PHONY: pgo
pgo: rust-tools ## Records anew which code is hot, for `make bench`, `make release` and the container image
	benches/pgo/record.sh

.PHONY: release
release: rust-tools ## A static binary with its licences, bill of materials and checksums, in target/dist
	deploy/release/release.sh

# A C compiler, for the cryptography below rustls, and the two cargo components.
.PHONY: rust-tools
rust-tools:
	@command -v cargo >/dev/null || { echo "missing: Rust. Install it from https://rustup.rs" >&2; exit 1; }
	@command -v cc >/dev/null || { $(call install,a C compiler,gcc libc6-dev); }
	@for component in fmt clippy; do \
		cargo $$component --version >/dev/null 2>&1 && continue; \
		if command -v rustup >/dev/null; then rustup component add rustfmt clippy; else \
			echo "missing: cargo $$component. It comes with the rustfmt and clippy of your Rust toolchain" >&2; exit 1; fi; \
	done

# A C++ compiler, for libFuzzer.
.PHONY: fuzz-tools
fuzz-tools:
	@command -v c++ >/dev/null || { $(call install,a C++ compiler,g++); }

# A real server for the tests of the shared store; Debian's 6, 7 or 8 will do. What judges the manual. What
# makes a process believe in another time of day. What counts instructions. And what the documentation's commands
# use.
.PHONY: test-tools
test-tools:
	@command -v redis-server >/dev/null || { $(call install,redis-server,redis-server); }
	@command -v mandoc >/dev/null || { $(call install,mandoc,mandoc); }
	@find /usr/lib /usr/lib64 -name 'libfaketime.so.1' 2>/dev/null | grep -q . || { $(call install,libfaketime,libfaketime); }
	@command -v valgrind >/dev/null || { $(call install,valgrind,valgrind); }
	@command -v curl >/dev/null || { $(call install,curl,curl ca-certificates); }

# What is missing is left out and said by the bench itself.
.PHONY: bench-tools
bench-tools:
	@command -v nginx >/dev/null || ( $(call install,nginx,nginx-light) ) || true
	@command -v haproxy >/dev/null || ( $(call install,haproxy,haproxy) ) || true
	@command -v valgrind >/dev/null || ( $(call install,valgrind,valgrind) ) || true
	@command -v strace >/dev/null || ( $(call install,strace,strace) ) || true

# curl must speak HTTP/2, as Debian's does; Python must be able to make environments. The browser is Debian's, with
# the driver of the same version, and a font for it.
.PHONY: e2e-tools
e2e-tools:
	@python3 -c 'import ensurepip, venv' 2>/dev/null || { $(call install,Python with venv,python3 python3-venv); }
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "missing: Python 3.10 or newer; this is $$(python3 --version)" >&2; exit 1; }
	@curl --version 2>/dev/null | grep -q HTTP2 || { $(call install,curl with HTTP/2,curl ca-certificates); }
	@command -v openssl >/dev/null || { $(call install,openssl,openssl); }
	@command -v haproxy >/dev/null || { $(call install,haproxy,haproxy); }
	@command -v tinyproxy >/dev/null || { $(call install,tinyproxy,tinyproxy-bin); }
	@command -v systemd-analyze >/dev/null || { $(call install,systemd-analyze,systemd); }
	@command -v promtool >/dev/null || { $(call install,promtool,prometheus); }
	@test -x /usr/sbin/nginx && test -e /usr/lib/nginx/modules/ngx_http_lua_module.so || \
		{ $(call install,nginx with Lua,nginx-light libnginx-mod-http-lua); }
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || \
		{ $(call install,Chromium and its driver,chromium chromium-driver fonts-dejavu-core); }

.venv/installed: tests/e2e/requirements.txt | e2e-tools
	rm -rf .venv
	python3 -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input -r tests/e2e/requirements.txt </dev/null
	@touch $@
