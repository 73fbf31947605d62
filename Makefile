# The front door: `make run` sets everything up and runs the quick suite, `make test` runs the tests.

SUITE ?= Workloads/suites/quick.json
# Further arguments of `vbench run`, e.g. make run ARGS="--backend native --backend software"
ARGS ?=
# What `make fuzz` tries: translation for ring 0 (supervisor) or ring 3 (user), the whole software VMM (machine),
# or translation of anything at all (bytes)
FUZZ ?= supervisor
SOURCES = Package.swift Sources Tests Plugins Workloads

.PHONY: help run bench-software build test test-svm fuzz lint format clean packages test-packages

help:
	@echo "make run      install what is missing, build, run $(SUITE)"
	@echo "make bench-software  measure the software VMM against its targets"
	@echo "make build    build vbench and its guest code (.build/release/vbench)"
	@echo "make test     build and run the tests"
	@echo "make test-svm test the KVM VMM on an emulated CPU with AMD-V"
	@echo "make fuzz     compare random code, translated, with the CPU, until it is stopped"
	@echo "make lint     check the format of the sources"
	@echo "make format   format the sources"
	@echo "make clean    remove what was built"
	@echo
	@echo "SUITE=FILE and ARGS=\"…\" go to \`vbench run\`."

run: build
	.build/release/vbench run $(SUITE) $(ARGS)

# A folder of its own for each run; mktemp makes it, `vbench run` takes it because it is empty.
bench-software: test-packages build
	@mkdir -p Results/runs && folder=$$(mktemp -d Results/runs/bench-software-XXXXXX) && \
	    .build/release/vbench run Workloads/suites/bench-software.json --output "$$folder" $(ARGS); \
	    .build/release/vbench targets "$$folder"

build: packages
	swift build -c release

test: test-packages
	swift test

test-svm: test-packages
	swift build --build-tests
	swift build -c release --product vbench
	@./Scripts/test-svm

fuzz: packages
	swift build -c release --product vbench-fuzz
	.build/release/vbench-fuzz $(FUZZ) $(SEED)

lint:
	swift format lint --strict --recursive $(SOURCES)

format:
	swift format --in-place --recursive $(SOURCES)

clean:
	rm -rf .build

packages:
	@./Scripts/install-packages build

test-packages:
	@./Scripts/install-packages test
