# Developer commands. The OpenWrt packages have Makefiles of their own (daemon/, luci-app-stripe-payments/,
# python3-stripe/, python3-ubus-py/): nothing here is read by the OpenWrt build system.

PYTHON ?= python3
VENV := .venv
PORT ?= 8080
STRIPE_PORT ?= 8081
HUB_PORT ?= 8000
CONSOLE_PORT ?= 8001
# Of the command line alone: some shells export HOST.
HOST = 127.0.0.1
ADDRESS =
STATE ?=
# More than the two cores of the smallest machine: most tests wait for a clock or a socket.
JOBS ?= 6
MINUTES ?=
SEED ?=
ONLY ?=
SDK ?=
# Arguments of the fault campaign: FAULTS='--only kill power --share 10' (--help tells all).
FAULTS ?=
DAYS ?= 7
SHELL_FILES = $(shell git ls-files 'files/etc/init.d/*' 'files/etc/uci-defaults/*' 'files/etc/hotplug.d/*' '*.sh' .ci/run \
  'docs/examples/*/init.d/*' 'docs/examples/*/hotplug.d/*' 'docs/examples/*/sbin/*')

export PYTHONPATH := $(CURDIR):$(CURDIR)/daemon:$(CURDIR)/hub
# Hundreds of daemons are started: what Python compiles is kept, whatever the environment says, out of the tree.
export PYTHONDONTWRITEBYTECODE :=
export PYTHONPYCACHEPREFIX := $(CURDIR)/build/pycache
unexport PIP_USER

.PHONY: help demo hub-demo test lint faults hub-faults hub-order hub-scale attack bench fleet soak ipk apk hub-wheel release clean format

help:
	@echo 'make demo    a simulated router with a simulated Stripe, in the browser (PORT=8080 STRIPE_PORT=8081 STATE=dir'
	@echo '             HOST=address of this machine, for a phone; HOST=0.0.0.0 for all, ADDRESS=name for links)'
	@echo 'make hub-demo  a vendor'\''s hub with two simulated routers (PORT=8080 STRIPE_PORT=8085 HUB_PORT=8000'
	@echo '             CONSOLE_PORT=8001 HOST= ADDRESS=)'
	@echo 'make test    every test: unit, recorded vectors, fuzz, flows, browser'
	@echo 'make lint    ruff, mypy --strict, eslint, shellcheck, translations, JSON'
	@echo 'make faults  fault injection at every write: power cuts, bad storage, bad answers; two hours'
	@echo 'make hub-faults  processes of the hub killed and networks cut while routers buy (RUNS=100 SEED=)'
	@echo 'make hub-order   events of recorded lives in every order, to the hub and to its peers (SEQUENCES=100000 SEED=)'
	@echo 'make hub-scale   a fleet on the hub: polls, a storm, a kill, a backfill, a power cut (ROUTERS=20000 CUSTOMERS=1000)'
	@echo 'make attack  34 kinds of attacks, as a table (MINUTES=4 SEED= ONLY=names)'
	@echo 'make bench   timings as ratios, written to build/bench.json'
	@echo 'make fleet   up to a million routers on one Stripe account, simulated, written to build/fleet.json (DAYS=7)'
	@echo 'make soak    months of a household in minutes, 200 random lives of ten years, a busy hub; written to build/soak.json (MINUTES=10)'
	@echo 'make ipk     the packages for opkg (OpenWrt 24.10), written to build/ipk'
	@echo 'make apk     the same for apk (OpenWrt 25.12); SDK=dir names an unpacked OpenWrt SDK'
	@echo 'make hub-wheel  the vendor server as a wheel, written to build/hub'
	@echo 'make release  wheels of ubus_py and the hub, packages for opkg, with SDK=dir for apk, SBOM, checksums: build/release'
	@echo 'make clean   removes what the commands above made'

# -- set-up: each command makes what it needs -------------------------------------------------------------------

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'Python 3.11 or newer is needed (PYTHON=… names another one).' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo 'Python cannot make a virtual environment: apt-get install python3-venv' >&2; exit 1; }

$(VENV)/.demo: requirements/demo.txt | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(VENV)/.dev: requirements/dev.txt | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@ $(VENV)/.demo

node_modules/.package-lock.json: package-lock.json package.json
	npm ci --no-audit --no-fund --loglevel=error
	@touch $@

# Programs that come from the distribution, installed where we may, named where we may not.
.PHONY: have-chromium have-shellcheck have-gcc have-postgresql have-promtool
have-chromium: PROGRAM = chromium
# The tests drive the second one where it is installed: it takes less time.
have-chromium: PACKAGES = chromium chromium-headless-shell
have-shellcheck: PROGRAM = shellcheck
have-gcc: PROGRAM = gcc
have-gcc: PACKAGES = gcc libc6-dev
have-postgresql: PROGRAM = pg_ctlcluster
have-postgresql: PACKAGES = postgresql
have-promtool: PROGRAM = promtool
have-promtool: PACKAGES = prometheus
have-chromium have-shellcheck have-gcc have-postgresql have-promtool: PACKAGES ?= $(PROGRAM)
have-chromium have-shellcheck have-gcc have-postgresql have-promtool:
	@command -v $(PROGRAM) >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing $(PROGRAM)"; \
	    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $(PACKAGES); } \
	      >/tmp/apt-$(PROGRAM).log 2>&1 || { tail -n 20 /tmp/apt-$(PROGRAM).log >&2; exit 1; }; \
	  else echo "$(PROGRAM) is needed: apt-get install $(PACKAGES)" >&2; exit 1; fi; }

# Debian 12's shellcheck does not know busybox yet: its dash dialect is the nearest to ash.

# -- commands ----------------------------------------------------------------------------------------------------

demo: $(VENV)/.demo
	@exec $(VENV)/bin/python -m simulator --port $(PORT) --stripe-port $(STRIPE_PORT) \
	  --host '$(HOST)' $(if $(ADDRESS),--address '$(ADDRESS)') $(if $(STATE),--state '$(STATE)')

hub-demo: STRIPE_PORT = 8085
hub-demo: $(VENV)/.dev have-postgresql
	@exec $(VENV)/bin/python -m simulator.hub_demo --port $(PORT) --stripe-port $(STRIPE_PORT) \
	  --hub-port $(HUB_PORT) --console-port $(CONSOLE_PORT) --host '$(HOST)' $(if $(ADDRESS),--address '$(ADDRESS)')

test: $(VENV)/.dev node_modules/.package-lock.json have-chromium have-gcc have-postgresql have-promtool
	$(VENV)/bin/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(TESTS)

lint: $(VENV)/.dev node_modules/.package-lock.json have-shellcheck
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	npx --no-install eslint .
	$(VENV)/bin/python -m tests.luci.texts --check
	$(if $(SHELL_FILES),shellcheck --shell=dash $(SHELL_FILES))

faults: $(VENV)/.dev have-gcc
	$(VENV)/bin/python -m campaigns faults $(FAULTS)

hub-faults: $(VENV)/.dev have-postgresql
	$(VENV)/bin/python -m campaigns hub $(if $(RUNS),--runs $(RUNS)) $(if $(SEED),--seed $(SEED))

# Installs the peers from npm and PyPI into build/peers.
hub-order: $(VENV)/.dev have-postgresql
	$(VENV)/bin/python -m campaigns order $(if $(SEQUENCES),--sequences $(SEQUENCES)) $(if $(SEED),--seed $(SEED))

hub-scale: $(VENV)/.dev have-postgresql
	$(VENV)/bin/python -m campaigns scale $(if $(ROUTERS),--routers $(ROUTERS)) \
	  $(if $(CUSTOMERS),--customers $(CUSTOMERS)) $(if $(ONLY),--only $(ONLY))

bench: $(VENV)/.dev have-postgresql
	$(VENV)/bin/python -m campaigns bench

attack: $(VENV)/.dev have-chromium have-postgresql
	$(VENV)/bin/python -m campaigns attack $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) \
	  $(if $(ONLY),--only $(ONLY))

# With DAYS= the million is followed for so long; PUBLISH=1 puts the pictures into docs/images.
fleet: $(VENV)/.dev
	$(VENV)/bin/python -m campaigns fleet --days $(DAYS) $(if $(PUBLISH),--publish)

soak: $(VENV)/.dev have-postgresql
	$(VENV)/bin/python -m campaigns soak $(if $(MINUTES),--minutes $(MINUTES))

ipk: $(VENV)/.demo
	@$(VENV)/bin/python -m tools.ipk --output build/ipk

hub-wheel: $(VENV)/.dev
	@$(VENV)/bin/python -c "from pathlib import Path; from tools.release import build_wheel; print(build_wheel('hub', Path('build/hub')))"

apk: $(VENV)/.demo
	@$(if $(SDK),,echo 'SDK=… must name an unpacked OpenWrt SDK, 25.12 or newer' >&2; exit 1)
	@$(VENV)/bin/python -m tools.ipk --output build/apk --sdk '$(SDK)'

# Packages for apk only with SDK=, as above; its absence is said.
release: $(VENV)/.dev
	@$(VENV)/bin/python -m tools.release --output build/release $(if $(SDK),--sdk '$(SDK)')

format: $(VENV)/.dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean:
	rm -rf $(VENV) node_modules build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -f daemon/stripe_payments/po/*.mo hub/payments_hub/po/*.mo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
