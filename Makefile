# The commands of this project; CONTRIBUTING.md tells what each is for.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo run setup-development test lint accuracy fuzz power-cuts bench screenshots package translations clean

help:  ## Show the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

setup:
	@bash tools/setup.sh

setup-development:
	@bash tools/setup.sh development

demo: setup  ## Find the tree crowns of the sample image, into the folder demo
	@bash tools/demo.sh

run: setup  ## Open QGIS with the plugin and the sample image, in a profile of its own
	@bash tools/run.sh

test: setup-development  ## Run the tests
	@source tools/environment.sh && QT_QPA_PLATFORM=offscreen .venv/bin/python -m pytest $(PYTEST_ARGUMENTS)

lint: setup-development  ## Check style, types, imports, QGIS rules and secrets
	@bash tools/lint.sh

accuracy: setup  ## Compare the sample packages with what people have drawn (needs ../shared/data)
	@source tools/environment.sh && export QT_QPA_PLATFORM=offscreen && \
	  .venv/bin/python benchmarks/accuracy.py && .venv/bin/python benchmarks/accuracy_trees.py

fuzz: setup-development  ## One million made-up inputs for each reader of foreign bytes (takes ten minutes)
	@source tools/environment.sh && .venv/bin/python tests/fuzzing.py

power-cuts: setup-development  ## Kill QGIS and its worker at 200 random moments (takes twenty minutes)
	@source tools/environment.sh && .venv/bin/python tests/power_cuts.py

bench: setup  ## Measure host path, pipeline, memory and suppression
	@source tools/environment.sh && .venv/bin/python benchmarks/run.py

screenshots: setup-development  ## Make the pictures of the manual, in the real QGIS
	@bash tools/screenshots.sh

package: setup-development  ## Build the zip for QGIS's plugin manager, into the folder build, and scan it
	@.venv/bin/python tools/package.py

translations: setup-development  ## Collect the strings to translate into i18n
	@.venv/bin/python tools/collect_strings.py

clean:  ## Remove what the commands have built, but not .venv
	rm -rf build demo benchmarks/results
