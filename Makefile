# make demo: a photograph becomes a SIREN in out/demo/.   make test: lint, types, quick tests.   make docs: the site.
# The first of some names that runs; pyenv's may be there and not run.
first = $(shell for python in $(1); do $$python -c '' 2>/dev/null && echo $$python && break; done)
PYTHON ?= $(call first,python3.11 $(HOME)/.pyenv/versions/3.11.*/bin/python python3)
NEWEST ?= $(call first,python3.12 $(HOME)/.pyenv/versions/3.12.*/bin/python python3.13 $(HOME)/.pyenv/versions/3.13.*/bin/python)
VENV ?= .venv
BIN := $(VENV)/bin
# Python 3.11 gets the newest JAX that supports it, later ones the newest JAX.
LOCK := $(shell $(PYTHON) -c 'import sys; print("requirements.lock" if sys.version_info < (3, 12) else "requirements-newest.lock")')
AS_JPEG = $(BIN)/python -c "import sys; from PIL import Image; Image.open(sys.argv[1]).convert('RGB').save(sys.argv[2], quality=88)"
READY := $(VENV)/ready

demo: $(READY)
	$(BIN)/siren-jax fit --size 256 --steps 1600 --out out/demo --overwrite

test: $(READY)
	$(MAKE) --no-print-directory -j 2 lint suite

suite: $(READY)
	$(BIN)/pytest -n 2 --dist loadfile

# The tests that take more than a few seconds each.
test-slow: $(READY)
	$(BIN)/pytest -n 2 --dist loadfile -m slow

# The notebooks of the docs, each from top to bottom.
notebooks: $(READY)
	$(BIN)/pytest -m slow tests/test_notebooks.py

# The suite on Python 3.12 with the newest versions of all packages, which `pip install` brings.
test-newest:
	$(MAKE) test VENV=.venv-newest PYTHON=$(NEWEST)

# Of it what depends most on versions: numbers, compiled steps, files, and a fit by the command.
test-newest-quick:
	$(MAKE) .venv-newest/ready VENV=.venv-newest PYTHON=$(NEWEST)
	.venv-newest/bin/pytest -n 2 --dist loadfile $(addprefix tests/test_,$(addsuffix .py,operators expansion sine network \
		objectives export fit refine checkpoints neural_field file_format many_points cli))

# The suite with the lowest versions that pyproject.toml allows; old ones warn of newer neighbours.
LOWEST = $(shell grep -oE '"[A-Za-z0-9-]+>=[0-9.]+[",]' pyproject.toml | tr -d '",' | sed 's/>=/==/' | grep -vE '^(torch|atheris|ruff|hatch[a-z-]*|sphinx|myst-parser|furo)=')
test-lowest:
	$(PYTHON) -m venv --clear .venv-lowest
	.venv-lowest/bin/pip install --quiet --disable-pip-version-check $(LOWEST)
	.venv-lowest/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	PYTEST_ADDOPTS='-o filterwarnings=default' .venv-lowest/bin/pytest -n 2 --dist loadfile

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(if $(shell command -v npm),$(MAKE) --no-print-directory scripts,@echo "The types of siren_jax/viewer/web are not checked: there is no npm.")

# The types of the viewer's scripts.
scripts: node_modules/ready
	node_modules/.bin/tsc --project tsconfig.json
node_modules/ready: package.json
	npm install --no-package-lock --no-audit --no-fund --silent
	touch $@

# The site, in out/docs/, from docs/, the docstrings and the help of the command; a warning is an error.
docs: .venv-docs/ready
	.venv-docs/bin/sphinx-build --fail-on-warning --keep-going --fresh-env --quiet --doctree-dir .cache/docs docs out/docs

.venv-docs/ready: pyproject.toml $(LOCK) requirements-docs.lock
	$(PYTHON) -m venv --clear .venv-docs
	.venv-docs/bin/pip install --quiet --disable-pip-version-check --requirement $(LOCK) --requirement requirements-docs.lock
	.venv-docs/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

# Every figure and number of experiments/README.md, in out/experiments/: hours. QUICK=1: less of everything, in minutes.
experiments: $(READY)
	$(BIN)/python -m experiments $(if $(QUICK),--quick)

# The pictures of README and docs; an hour.
pictures: demo
	for name in image_fit activation_spectra outside_the_range; do $(BIN)/python -m experiments.$$name --overwrite || exit 1; done
	$(BIN)/python -m experiments.shape_fit --solids knot --overwrite
	$(BIN)/python -m experiments.poisson_editing --modes paste --overwrite
	$(BIN)/python -m experiments.helmholtz --cases helmholtz --networks siren --overwrite
	$(BIN)/python -m experiments.full_waveform_inversion --overwrite
	$(AS_JPEG) out/demo/comparison.png docs/images/demo.jpg
	$(AS_JPEG) out/experiments/image_fit/image_fit.png docs/images/image_fit.jpg
	$(AS_JPEG) out/experiments/shape_fit/knot_siren.png docs/images/shape_fit.jpg
	$(AS_JPEG) out/experiments/poisson_editing/paste.png docs/images/poisson_editing.jpg
	$(AS_JPEG) out/experiments/helmholtz/helmholtz.png docs/images/helmholtz.jpg
	cp out/experiments/full_waveform_inversion/full_waveform_inversion.png docs/images/
	cp out/experiments/activation_spectra/by_layer.png docs/images/activation_spectra.png
	cp out/experiments/outside_the_range/outside_the_range.png docs/images/outside_the_range.png

# The newest versions that pyproject.toml allows, tried together; run the tests before committing them.
lock:
	$(MAKE) .venv-lock/requirements && cp .venv-lock/requirements requirements.lock
	.venv-lock/bin/pip install --quiet '.[docs]'
	.venv-lock/bin/pip freeze --quiet --exclude siren-jax | grep -E '^[A-Za-z0-9._-]+==' | grep -vxFf requirements.lock > requirements-docs.lock
	$(MAKE) .venv-lock/requirements PYTHON=$(NEWEST) && cp .venv-lock/requirements requirements-newest.lock
	rm -rf .venv-lock
.venv-lock/requirements:
	$(PYTHON) -m venv --clear .venv-lock
	.venv-lock/bin/pip install --quiet hatchling hatch-fancy-pypi-readme editables '.[dev]'
	.venv-lock/bin/pip freeze --quiet --exclude siren-jax | grep -E '^[A-Za-z0-9._-]+==' > $@

clean:
	rm -rf node_modules .cache .venv .venv-lock .venv-lowest .venv-newest .venv-docs out build dist .ruff_cache .pytest_cache .hypothesis

# Built from the lock alone, and again whenever it or pyproject.toml is newer.
$(READY): pyproject.toml $(LOCK)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, not " + sys.version)'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement $(LOCK)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

.PHONY: scripts demo docs test suite test-slow notebooks test-newest test-newest-quick test-lowest lint experiments pictures lock .venv-lock/requirements clean
