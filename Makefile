# The verbs. Their code is in cli/. TARGET=aws acts on AWS instead of this machine; ENV= and PROJECT= act on another
# environment or project.
PYTHON ?= python3
VERB := .venv/bin/python -m cli
# Inputs of the verbs; cli/inputs.py defines their form. They are passed on unexpanded: make would expand the `$` of
# CMD='echo $HOME'.
INPUTS := V TARGET ENV PROJECT TAG TO FROM DELETE_DATA CMD HOST SERVICE LEVEL REQUEST SINCE UNTIL GREP FOLLOW EDGE_PORT GRAFANA_PORT PROMETHEUS_PORT ALERTMANAGER_PORT GRAFANA_IMAGE WATCH READY TIERS ADDRESS ALERT FOR THREAD WHY EMAIL ID REBUILD
# Many people's shells export EMAIL, for git and others: it must not choose whose comments are erased.
ifneq ($(origin EMAIL),command line)
override EMAIL :=
endif
$(foreach name,$(INPUTS),$(if $(filter-out undefined,$(origin $(name))),$(eval override $(name) := $$(value $(name)))))
export $(INPUTS)
# Python caches compiled modules, so that every tool starts faster, but not beside the sources, which are copied.
export PYTHONDONTWRITEBYTECODE :=
export PYTHONPYCACHEPREFIX := $(CURDIR)/.state/pycache
# Python reads and prints UTF-8 in every locale.
export PYTHONUTF8 := 1

.DEFAULT_GOAL := help
VERBS := up down status env alerts silence ssh logs tunnel image images outdated sbom release rollback releases move-database ssh-open ssh-close plan dev doctor backup backups restore drill comments hide unhide erase audit check test bench capacity prove
.PHONY: help venv venvtest clean $(VERBS)

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The environment's own interpreter, if it exists: the `python3` of a version manager is a slow script.
VENV = "$$(test -x .venv/bin/python && echo .venv/bin/python || echo "$(PYTHON)")" -m cli.venv

venv:
	@$(VENV) run

venvtest: venv
	@$(VENV) test

up: venv ## create everything: AWS on this machine, the host, the image, the stack; prints the URLs
down: venv ## remove everything that `make up` created, and nothing else; built images stay as a cache
status: venv ## print one line per component; exit status 1 if one is not healthy
env: venvtest ## print the environment for Terraform, Ansible and others: eval "$(make -s env)"
alerts: venv ## list the alerts and silences of each host
silence: venv ## silence ALERT= FOR= 30m, 2h (default) or 1d; FOR=0 ends it; HOST=
ssh: venv ## open a shell on the host, or run one command: CMD='docker compose ls'; HOST=
logs: venv ## follow the logs of all hosts; HOST= (also a removed one), SERVICE=, LEVEL=, REQUEST= (an id), SINCE= (1h), GREP=, FOLLOW=no
tunnel: venv ## forward Grafana, Prometheus and Alertmanager to 127.0.0.1; GRAFANA_PORT=, PROMETHEUS_PORT=, ALERTMANAGER_PORT=
image: venv ## build the API's image and push it to ECR
outdated: venvtest ## list newer versions of Python's and Debian's packages and of images, and known vulnerabilities
sbom: venvtest ## write a CycloneDX bill of materials of the API's image; TAG=
images: venv ## list the API's images in ECR, the newest first
check: venvtest ## run linters, type checks and unit tests; no root, no Docker, no network
test: venvtest ## run the full test suite in a sandbox of its own; TIERS= some of check, parts, site
bench: venvtest ## benchmark the API and the edge
capacity: venvtest ## measure the load that a host of each instance type carries; over an hour on an idle machine
prove: venvtest ## run the long proofs: fifty kills, ten thousand bodies, releases under load
release: venv ## build, push and roll out the working tree without losing a request; TAG= an image in ECR, REBUILD=yes, WATCH= seconds
rollback: venv ## roll back image and configuration to the good release before the live one; TO= one of `make releases`
releases: venv ## list the releases
move-database: venv ## move the comments while the site serves: TO= a parameter with PostgreSQL's URL, or sqlite
ssh-open: venv ## open port 22 of the hosts to this machine until `make ssh-close`; for the pipeline
ssh-close: venv ## close what `make ssh-open` opened
dev: venv ## `docker compose up` with the API on :8000, reloading; downloads Compose if it is missing
doctor: venv ## check every prerequisite and say what to do
plan: venv ## show what would change: Terraform's plan and Ansible's --check --diff
backup: venv ## back up the comments to S3 now; a timer does so every 15 minutes
backups: venv ## list the backups, the oldest first
restore: venv ## restore the newest backup, or FROM= one of `make backups`; the old database is kept
drill: venv ## destroy the host and its volume, rebuild both, and measure how long it takes
comments: venv ## list the newest comments, hidden ones too; THREAD=, EMAIL=, GREP= a text, SINCE=, UNTIL=
hide: venv ## hide comments from everybody: ID= one or more, WHY=; `make unhide` shows them again
unhide: venv ## show hidden comments again: ID= one or more, WHY=
erase: venv ## erase every comment and trace of EMAIL=, for good; WHY=
audit: venv ## list who hid or erased what, when and why

$(VERBS):
	@$(VERB) $@

# .state/aws* stays: the hosts' keys, and the state of an interrupted bootstrap.
clean: ## `make down`, and remove the built images and the virtual environment, too
	@if [ -x .venv/bin/uv ]; then $(VERB) clean; \
	elif [ -e .state ]; then echo '✗ .venv is missing, and a sandbox may be up: run `make down`, then the same command again' >&2; exit 1; fi
	@rm -rf terraform/.terraform terraform/bootstrap/.terraform
	@[ ! -e .venv ] || find .venv/ -mindepth 1 -maxdepth 1 -exec rm -rf {} +
	@[ ! -e .state ] || find .state/ -mindepth 1 -maxdepth 1 ! -name 'aws*' -exec rm -rf {} +
	@rmdir .venv .state 2>/dev/null || true # In `./tools` both are mounted and cannot be removed.
	@git clean -qfX -- terraform/.terraform.lock.hcl terraform/bootstrap/.terraform.lock.hcl # Not one that was committed.
