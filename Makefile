# Two commands: `make demo` follows an object through a video, `make test` runs the tests.
#   make demo VIDEO=clip.mp4 BOX=420,130,560,300 OUT=results
# Paths are relative, so a checkout in a folder with spaces works too.

PYTHON ?= python3
VIDEO ?= assets/demo.mp4
BOX ?= 43,154,201,255
OUT ?= out/demo
PIP = -m pip install --quiet --disable-pip-version-check

.PHONY: demo test figures clean

demo: .venv/installed
	@.venv/bin/python -m vidmem track "$(VIDEO)" --box "$(BOX)" --out "$(OUT)"
	@echo; echo "next, with your own video:"
	@echo "  .venv/bin/vidmem pick clip.mp4                                    a picture to read coordinates from"
	@echo "  .venv/bin/vidmem track clip.mp4 --click x,y --out results         then open results/overlay.mp4"
	@echo "  .venv/bin/python -m pip install '.[app]' && .venv/bin/vidmem app  or click in the browser"

# Two processes of one thread each: two pools of threads on two cores would only wait for each other.
test: .venv-test/installed
	.venv-test/bin/ruff check --quiet . && .venv-test/bin/ruff format --check --quiet . && .venv-test/bin/mypy --no-error-summary
	OMP_NUM_THREADS=1 .venv-test/bin/python -m pytest --numprocesses 2 --dist loadfile

.venv/installed: requirements.txt pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "make: $(PYTHON) is not Python 3.11 or newer; name one: make PYTHON=python3.12 ..."; exit 1; }
	@echo "installing into .venv (once, about 570 MB on disk)"
	@"$(PYTHON)" -m venv .venv
	@.venv/bin/python $(PIP) --requirement requirements.txt
	@.venv/bin/python $(PIP) --no-deps --editable .
	@touch $@

.venv-test/installed: requirements.txt requirements-test.txt requirements-reference.txt pyproject.toml
	"$(PYTHON)" -m venv .venv-test
	.venv-test/bin/python $(PIP) --requirement requirements.txt --requirement requirements-test.txt --constraint requirements-reference.txt
	SAM2_BUILD_CUDA=0 .venv-test/bin/python $(PIP) --no-deps --no-build-isolation --requirement requirements-reference.txt
	.venv-test/bin/python $(PIP) --no-deps --editable .
	@touch $@

figures: .venv-test/installed
	.venv-test/bin/python scripts/readme_figures.py

clean:
	rm -rf .venv .venv-test out
