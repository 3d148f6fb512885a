# The verbs. Everything of any length is Python in cli/ and sandbox/; TARGET=aws acts on AWS instead of this machine,
# ENV= and PROJECT= on another environment or project beside the default.
PYTHON ?= python3
TARGET ?= sandbox
VERB := .venv/bin/python -m cli
# What people give; cli/inputs.py says what each may look like. Passed on as it was given: make would expand the `$` of
# CMD='echo $HOME'.
INPUTS := V TARGET ENV PROJECT TAG TO FROM DELETE_DATA CMD HOST SERVICE LEVEL REQUEST SINCE GREP FOLLOW EDGE_PORT GRAFANA_PORT PROMETHEUS_PORT ALERTMANAGER_PORT GRAFANA_IMAGE WATCH READY TIERS ADDRESS ALERT FOR REBUILD
$(foreach name,$(INPUTS),$(if $(filter-out undefined,$(origin $(name))),$(eval override $(name) := $$(value $(name)))))
export $(INPUTS)
# Compiled modules are kept, or every tool that starts compiles all it is made of; but not beside the sources, which are copied.
export PYTHONDONTWRITEBYTECODE :=
export PYTHONPYCACHEPREFIX := $(CURDIR)/.state/pycache
# Whatever the locale, what Python reads and prints is UTF-8.
export PYTHONUTF8 := 1

.DEFAULT_GOAL := help
.PHONY: help up down status env alerts silence ssh logs tunnel image images outdated sbom release rollback releases ssh-open ssh-close plan dev doctor backup backups restore drill check test bench prove venv venvtest clean

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The environment's own interpreter, once there is one: a version manager's `python3` is a slow script in front of it.
VENV = "$$(test -x .venv/bin/python && echo .venv/bin/python || echo "$(PYTHON)")" -m cli.venv

venv:
	@$(VENV) run

venvtest: venv
	@$(VENV) test

up: venv ## everything, from nothing: AWS on this machine, the host, the image, the stack; ends with the URLs
	@$(VERB) up

down: venv ## remove everything that `make up` made, and nothing else (the built images stay as a cache: `make clean`)
	@$(VERB) down

status: venv ## a line per component; exit status 1 when one is not healthy
	@$(VERB) status

env: venvtest ## the environment for the tools themselves: eval "$(make -s env)"
	@$(VERB) env

alerts: venv ## what fires on each host, what is silenced and until when
	@$(VERB) alerts

silence: venv ## silence ALERT= FOR= 30m, 2h (the default) or 1d; FOR=0 ends it; HOST= chooses
	@$(VERB) silence

ssh: venv ## a shell on the host, or one command: CMD='docker compose ls'; HOST= chooses
	@$(VERB) ssh

logs: venv ## follow the logs of all hosts; HOST=, SERVICE=, LEVEL=, REQUEST= (an id), SINCE= (1h) and GREP= choose, FOLLOW=no ends
	@$(VERB) logs

tunnel: venv ## Grafana, Prometheus and Alertmanager on 127.0.0.1; GRAFANA_PORT=, PROMETHEUS_PORT=, ALERTMANAGER_PORT= choose
	@$(VERB) tunnel

image: venv ## build the API's image and push it to ECR
	@$(VERB) image

outdated: venvtest ## what is newer: Python's locks, Debian's packages in the images, image tags; known vulnerabilities
	@$(VERB) outdated

sbom: venvtest ## what is in the API's image, as CycloneDX; TAG= another image that this machine has
	@$(VERB) sbom

images: venv ## the API's images in ECR, the newest first
	@$(VERB) images

check: venvtest ## linters, types and unit tests: the fast inner loop; no root, no Docker, no network
	@$(VERB) check

test: venvtest ## every test, with all the set-up that they need, in a sandbox of its own; TIERS= some of check, parts, site
	@$(VERB) test

bench: venvtest ## the API's speed beside the original's and bare Flask's, and what the edge costs, as tables
	@$(VERB) bench

prove: venvtest ## the long proofs: fifty kills, ten thousand bodies, releases under load
	@$(VERB) prove

# What is known of AWS stays: the hosts' keys, and the only state of a bootstrap that was interrupted.
clean: ## `make down`, and then the images and the virtual environment, too
	@if [ -x .venv/bin/uv ]; then $(VERB) clean; \
	elif [ -e .state ]; then echo '✗ .venv is missing, and a sandbox may be up: `make down`, then the same again' >&2; exit 1; fi
	@rm -rf terraform/.terraform terraform/bootstrap/.terraform
	@[ ! -e .venv ] || find .venv/ -mindepth 1 -maxdepth 1 -exec rm -rf {} +
	@[ ! -e .state ] || find .state/ -mindepth 1 -maxdepth 1 ! -name 'aws*' -exec rm -rf {} +
	@rmdir .venv .state 2>/dev/null || true # In `./tools` both are mounted and cannot be removed.
	@git clean -qfX -- terraform/.terraform.lock.hcl terraform/bootstrap/.terraform.lock.hcl # Not one that was committed.

release: venv ## build, push and roll out the working tree, no request lost; TAG= an image that is in ECR, REBUILD=yes, WATCH= seconds
	@$(VERB) release

rollback: venv ## back to the last good release, image and configuration; TO= one of `make releases`
	@$(VERB) rollback

releases: venv ## the releases: when, which, by whom, how they ended, which is live
	@$(VERB) releases

ssh-open: venv ## port 22 of the hosts for this machine's address, until `make ssh-close`; for the pipeline
	@$(VERB) ssh-open

ssh-close: venv ## take out what `make ssh-open` let in
	@$(VERB) ssh-close

dev: venv ## `docker compose up`, downloading Compose if it is missing: the API with reload on :8000; Ctrl-C ends it
	@$(VERB) dev

doctor: venv ## every prerequisite and path as a table: what was found, and what to do
	@$(VERB) doctor

plan: venv ## what would change: Terraform's plan and Ansible's --check --diff
	@$(VERB) plan

backup: venv ## a backup of the comments now, to S3 (the host makes one every quarter of an hour by itself)
	@$(VERB) backup

backups: venv ## the backups, the oldest first
	@$(VERB) backups

restore: venv ## the newest backup, or FROM= one of `make backups`, in the database's place; the old one is kept
	@$(VERB) restore

drill: venv ## lose the host and its volume, and measure until everything is back
	@$(VERB) drill
