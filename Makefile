# Salamander: one non-recursive Makefile. Every .c below the folders named here is built;
# there is no list of files to keep.
#
#   make            build/salamander-edge, build/salamander-central
#   make demo       two edges, one central, two fires (DICOM=dir, KEEP=1)
#   make check      unit, system, crash tests
#   make lint       format, cppcheck, floors, sizes, headers
#   make bench      speed, beside Orthanc
#   make wan        speed over long, lossy lines, beside iperf3, curl, rsync, Orthanc
#   make soak       kill -9, power cuts, chaos, churn and fuzzers, SECONDS= each
#   make docs       the tables of deploy/CONFORMANCE.md
#   make install    DESTDIR= PREFIX=
#   CC=clang, SAN=address,undefined | thread, B=<build folder>

ifeq ($(origin CC),default)
CC := gcc
endif
ifeq ($(origin CXX),default)
CXX := $(if $(findstring clang,$(CC)),clang++,g++)
endif
B ?= build
SAN ?=

VERSION := 0.1.0
WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wvla -Wswitch-enum -Wwrite-strings \
	-Wundef -Wformat=2 -Werror
CWARN := $(WARN) -Wstrict-prototypes -Wmissing-prototypes
OPT ?= -O2 -g
COMMON := $(OPT) -I. -I$(B)/gen -D_GNU_SOURCE -DSALAMANDER_VERSION='"$(VERSION)"' -pthread -fno-omit-frame-pointer \
	-fstack-protector-strong -MMD -MP $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all)
CFLAGS_ALL := -std=c11 $(CWARN) $(COMMON) $(CFLAGS)
CXXFLAGS_ALL := -std=c++17 $(WARN) $(COMMON) -isystem /usr/include/dcmtk $(CXXFLAGS)
LIBS := -llmdb -lmicrohttpd -lcurl -lprotobuf-c -ljansson -linih -lcrypto -lssl -lxxhash -lzstd -lz \
	-lgnutls -lsystemd
DCMTK_LIBS := -ldcmnet -ldcmdata -loflog -lofstd
# Decoders live in the worker only.
WORKER_LIBS := -ldcmjpls -ldcmtkcharls -ldcmjpeg -lijg8 -lijg12 -lijg16 -ldcmimage -ldcmimgle -ldcmdata \
	-loflog -lofstd -lopenjp2
LDFLAGS_ALL := -pthread $(if $(SAN),-fsanitize=$(SAN)) $(LDFLAGS)

FOLDERS := common/base common/os common/kv common/dicom common/http common/store common/dimse \
	common/web proto edge central
MAINS := edge/main.c central/main.c
PROTOS := $(wildcard proto/*.proto common/store/*.proto)
GEN_C := $(PROTOS:%.proto=$(B)/gen/%.pb-c.c)
SRC_C := $(filter-out $(MAINS),$(wildcard $(addsuffix /*.c,$(FOLDERS))))
WORKER_CC := $(wildcard common/dicom/worker*.cc)
SRC_CC := $(filter-out $(WORKER_CC),$(wildcard common/dicom/*.cc))
OBJ := $(SRC_C:%.c=$(B)/%.o) $(SRC_CC:%.cc=$(B)/%.o) $(GEN_C:%.c=%.o)
LIB := $(B)/libsalamander.a
WORKER := $(B)/salamander-worker
BINS := $(patsubst %/main.c,$(B)/salamander-%,$(wildcard $(MAINS))) $(WORKER)

# A test program is one .c file; what several tests of a folder share is in tests/lib.
TESTLIB_C := $(wildcard tests/lib/*.c tests/gen/*.c)
TESTLIB_OBJ := $(TESTLIB_C:%.c=$(B)/%.o)
TEST_C := $(wildcard tests/unit/test_*.c tests/pair/test_*.c tests/crash/test_*.c)
TESTS := $(TEST_C:%.c=$(B)/%)
# Loaded into others with LD_PRELOAD: a disk whose flushes take longer, a clock that is wrong.
PRELOADED := tests/bench/slow_flush tests/tools/wrong_clock
TOOL_C := $(filter-out $(PRELOADED:%=%.c),$(wildcard tests/tools/*.c tests/bench/*.c)) tests/crash/replay.c
TOOLS := $(TOOL_C:%.c=$(B)/%) $(B)/tests/crash/recorder.so $(PRELOADED:%=$(B)/%.so)

.PHONY: all build-all tools tests check check-asan check-tsan floors lint fuzz bench wan soak demo install clean
.SECONDARY:
.DEFAULT_GOAL := all

# A fresh Debian 12 has make and nothing else: each goal installs what it lacks.
DEPS := deps-build deps-test deps-lint deps-demo deps-bench
.PHONY: $(DEPS)
$(DEPS): deps-%:
	@deploy/install-deps $*

all: build-all
build-all: $(BINS) $(LIB)
tools: $(TOOLS)
tests: $(TESTS) $(WORKER)

$(B)/gen/%.pb-c.c $(B)/gen/%.pb-c.h: %.proto
	@mkdir -p $(B)/gen
	protoc-c --c_out=$(B)/gen $<

$(B)/gen/%.pb-c.o: $(B)/gen/%.pb-c.c
	$(CC) -std=c11 -w $(COMMON) -c $< -o $@

# Packages first; generated headers exist before anything that may include them is compiled.
$(GEN_C) $(GEN_C:%.c=%.h) $(filter %.so,$(TOOLS)): | deps-build
$(OBJ) $(WORKER_CC:%.cc=$(B)/%.o) $(TESTLIB_OBJ) $(MAINS:%.c=$(B)/%.o) $(TESTS:%=%.o) $(TOOL_C:%.c=$(B)/%.o): | $(GEN_C:%.c=%.h)

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -c $< -o $@

$(B)/%.o: %.cc
	@mkdir -p $(@D)
	$(CXX) $(CXXFLAGS_ALL) -c $< -o $@

$(LIB): $(OBJ)
	@rm -f $@
	ar rcs $@ $(OBJ)

$(WORKER): $(WORKER_CC:%.cc=$(B)/%.o)
	$(CXX) $(LDFLAGS_ALL) -o $@ $^ $(WORKER_LIBS)

$(B)/salamander-%: $(B)/%/main.o $(LIB)
	$(CXX) $(LDFLAGS_ALL) -o $@ $< $(LIB) $(DCMTK_LIBS) $(LIBS)

$(B)/tests/%: $(B)/tests/%.o $(TESTLIB_OBJ) $(LIB)
	$(CXX) $(LDFLAGS_ALL) -o $@ $< $(TESTLIB_OBJ) $(LIB) $(DCMTK_LIBS) $(LIBS) -lcmocka

# Loaded into the product by tests/crash/power.py; never sanitized, since it comes before everything.
$(B)/tests/crash/recorder.so: tests/crash/recorder.c tests/crash/trace.h tests/lib/real.h
	@mkdir -p $(@D)
	$(CC) -std=c11 $(CWARN) -O2 -g -I. -D_GNU_SOURCE -fPIC -shared -pthread $< -o $@ -ldl

$(PRELOADED:%=$(B)/%.so): $(B)/%.so: %.c tests/lib/real.h
	@mkdir -p $(@D)
	$(CC) -std=c11 $(CWARN) -O2 -g -I. -D_GNU_SOURCE -fPIC -shared $< -o $@ -ldl

# The simulator: its disks, in memory, stand in the place of ours.
SIM := $(B)/tests/sim/sim
SIM_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard tests/sim/*.c))
$(SIM_OBJ): | $(GEN_C:%.c=%.h)
$(SIM): $(SIM_OBJ) $(filter $(B)/tests/gen/%,$(TESTLIB_OBJ)) $(B)/tests/lib/send.o $(B)/tests/lib/oldpeer.o $(LIB)
	$(CXX) $(LDFLAGS_ALL) -o $@ $^ $(DCMTK_LIBS) $(LIBS) -lcmocka

RUN := /usr/bin/python3 tests/run.py
SYSTEM := $(wildcard tests/system/*.py) tests/crash/kill9.py tests/crash/churn.py tests/crash/viewer.py tests/crash/chaos.py tests/demo/demo.py tests/crash/power.py tests/wan/arrives.py
# Real nodes mostly wait: six programs at once keep two cores busy, the long ones first.
LONG := $(addprefix tests/system/,recovered.py identity.py certificates.py sync.py operate.py scanner.py reject.py orders.py setback.py dimse.py load.py)
# Under ThreadSanitizer: all but the sweeps that fork at each step, which it follows for minutes or not at all, and a long
# story told by one thread.
NO_TSAN := $(addprefix tests/,$(addprefix unit/test_,store_sweep.c store_journal.c store_changes.c certificates.c) \
	$(addprefix pair/test_,keep_death.c pair_death.c orders_sweep.c reject_sweep.c newest.c))
THREADED := $(filter-out $(NO_TSAN),$(TEST_C))

check: deps-build deps-test
	@tests/interop/install
	@$(MAKE) --no-print-directory build-all tools tests $(SIM)
	@BUILD=$(CURDIR)/$(B) SIM_JOBS=2 $(RUN) --jobs 6 --title check $(LONG) $(SIM) $(TESTS) $(filter-out $(LONG),$(SYSTEM))

check-asan:
	@$(MAKE) --no-print-directory B=$(B)-asan SAN=address,undefined OPT="-O1 -g" tests $(SIM:$(B)/%=$(B)-asan/%)
	@ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 \
		SIM_SEEDS=10 SIM_JOBS=2 $(RUN) --jobs 3 --title asan $(SIM:$(B)/%=$(B)-asan/%) $(TESTS:$(B)/%=$(B)-asan/%)

check-tsan:
	@$(MAKE) --no-print-directory B=$(B)-tsan SAN=thread OPT="-O1 -g" $(THREADED:%.c=$(B)-tsan/%) $(B)-tsan/salamander-worker
	@TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1 $(RUN) --jobs 3 --title tsan $(THREADED:%.c=$(B)-tsan/%)

SOURCES = $(shell find common proto edge central tests -name '*.c' -o -name '*.h' -o -name '*.cc')

# What another compiler than that of the tests says of them; nothing is linked.
.PHONY: syntax
syntax: $(GEN_C:%.c=%.h)
	@printf '%s\n' $(filter tests/%.c,$(SOURCES)) | \
		xargs -P 2 -n 16 $(CC) $(filter-out -MMD -MP,$(CFLAGS_ALL)) -fsyntax-only

CPPCHECK := --quiet --error-exitcode=1 --inline-suppr --std=c11 --enable=warning,performance,portability \
	--suppress=missingIncludeSystem --suppress=checkersReport -I. -D_GNU_SOURCE -DSALAMANDER_VERSION='""' -j2

# What includes what, and how long it may be.
floors:
	/usr/bin/python3 tests/lint/floors.py

lint: deps-build deps-lint floors $(GEN_C)
	clang-format --dry-run -Werror $(SOURCES)
	@[ "$$($(MAKE) -n $(DEPS) | grep -c install-deps)" = 5 ] || { echo "the goals install nothing"; exit 1; }
	CC=$(CC) B=$(B) tests/lint/headers.sh
	cppcheck $(CPPCHECK) $(filter %.c,$(SOURCES))
	/usr/bin/python3 tests/lint/rules.py
	/usr/bin/python3 tests/lint/docs.py

# Fuzzers need clang; each runs SECONDS= (default 60) on what it grew before.
SECONDS ?= 60
FUZZERS := $(patsubst tests/fuzz/%.c,$(B)-fuzz/tests/fuzz/%,$(wildcard tests/fuzz/*.c))

.PHONY: fuzz-lib
fuzz-lib:
	@$(MAKE) --no-print-directory CC=clang CXX=clang++ B=$(B)-fuzz SAN=address,undefined,fuzzer-no-link \
		OPT="-O1 -g" $(B)-fuzz/libsalamander.a

$(B)-fuzz/tests/fuzz/%: tests/fuzz/%.c fuzz-lib
	@mkdir -p $(@D)
	clang -std=c11 $(COMMON) -fsanitize=address,undefined,fuzzer-no-link -c $< -o $@.o
	clang++ -pthread -fsanitize=address,undefined,fuzzer $@.o $(B)-fuzz/libsalamander.a $(DCMTK_LIBS) $(LIBS) -o $@

fuzz: deps-build deps-test $(FUZZERS)
	@for f in $(FUZZERS); do mkdir -p $(B)-fuzz/corpus/$$(basename $$f) && \
		$$f -max_total_time=$(SECONDS) -rss_limit_mb=2048 -artifact_prefix=$(B)-fuzz/ \
		$(B)-fuzz/corpus/$$(basename $$f) || exit 1; done

# Worlds of one central and 16 edges: make sim SEEDS=1000 FIRST=1
SEEDS ?= 40
FIRST ?= 1
.PHONY: sim
sim: deps-build deps-test
	@$(MAKE) --no-print-directory $(SIM)
	@$(SIM) --seed $(FIRST) --seeds $(SEEDS) --jobs $$(nproc)

.PHONY: docs
docs: deps-build
	@$(MAKE) --no-print-directory $(B)/tests/tools/conformance
	@BUILD=$(CURDIR)/$(B) /usr/bin/python3 tests/tools/docs.py

demo: deps-build deps-demo
	@$(MAKE) --no-print-directory build-all tools
	@BUILD=$(CURDIR)/$(B) DICOM="$(DICOM)" KEEP="$(KEEP)" /usr/bin/python3 tests/demo/demo.py

# Speed is reported, never tested; it runs beside Debian's Orthanc. Each part by itself:
# BUILD=build tests/bench/take_in.py --help, ...; ROUNDS= interleaved rounds of each.
ROUNDS ?= 3
bench: deps-build deps-test deps-bench
	@$(MAKE) --no-print-directory build-all tools
	@BUILD=$(CURDIR)/$(B) /usr/bin/python3 tests/bench/take_in.py --rounds $(ROUNDS)
	@BUILD=$(CURDIR)/$(B) /usr/bin/python3 tests/bench/store.py --rounds $(ROUNDS)
	@BUILD=$(CURDIR)/$(B) /usr/bin/python3 tests/bench/query.py --rounds $(ROUNDS)
	@BUILD=$(CURDIR)/$(B) /usr/bin/python3 tests/bench/sync.py --rounds $(ROUNDS)
	@BUILD=$(CURDIR)/$(B) /usr/bin/python3 tests/bench/retrieve.py --rounds $(ROUNDS)
	@BUILD=$(CURDIR)/$(B) /usr/bin/python3 tests/bench/viewers.py --peer
	@BUILD=$(CURDIR)/$(B) /usr/bin/python3 tests/bench/recode.py --rounds $(ROUNDS)
	@BUILD=$(CURDIR)/$(B) /usr/bin/python3 tests/bench/assured.py --rounds $(ROUNDS)

# Over lines of its own making: CELLS= CONTROL= LOADS= of tests/wan/wan.py --help.
wan: deps-build deps-test deps-bench
	@$(MAKE) --no-print-directory build-all tools
	@BUILD=$(CURDIR)/$(B) /usr/bin/python3 tests/wan/wan.py --peers $(if $(CELLS),--cells $(CELLS)) \
		$(if $(CONTROL),--control $(CONTROL)) $(if $(LOADS),--loads $(LOADS))

# What outgrows `make check`: each step of the sweeps; then, SECONDS= each and on fresh seeds: kill -9 rounds, power
# cuts, chaos, a cache turned over and over, 16 associations at once, the simulator on both cores, and every fuzzer.
# Between them, once: a minute of a viewer at 10 MB/s, and all of DICOM_CORPUS encoded anew.
SWEEPS := $(addprefix $(B)/tests/,unit/test_store_sweep unit/test_store_journal pair/test_keep_death pair/test_pair_death pair/test_pair_errors \
	pair/test_orders_sweep pair/test_reject_sweep)
soak: deps-build deps-test
	@$(MAKE) --no-print-directory build-all tools $(SIM) $(SWEEPS)
	@SWEEP_ALL=1 $(RUN) --timeout 7200 --title sweeps $(SWEEPS)
	@seed=$$(date +%s); echo "seed $$seed"; export BUILD=$(CURDIR)/$(B); set -e; \
		/usr/bin/python3 tests/crash/kill9.py --rounds 1000000 --seconds $(SECONDS) --seed $$seed; \
		/usr/bin/python3 tests/crash/power.py --states 40000 --seconds $(SECONDS) --seed $$seed; \
		/usr/bin/python3 tests/crash/chaos.py --actions 30 --rounds 5 --seconds $(SECONDS) --seed $$seed; \
		/usr/bin/python3 tests/crash/churn.py --quota 128 --seconds $(SECONDS) --seed $$seed; \
		/usr/bin/python3 tests/crash/viewer.py --quota 2048 --seconds 60 --hold; \
		SERIES_LIMIT=0 /usr/bin/python3 tests/system/scanner.py; \
		SECONDS=$(SECONDS) ROWS=50000 /usr/bin/python3 tests/system/load.py; \
		$(SIM) --seed $$seed --seeds 1000000 --seconds $(SECONDS) --jobs $$(nproc)
	@BUILD=$(B) /usr/bin/python3 tests/sim/plant.py
	@$(MAKE) --no-print-directory fuzz

PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
UNITDIR ?= $(PREFIX)/lib/systemd/system
DOCS := README.md proto/PROTOCOL.md deploy/RECOVERY.md deploy/CONFORMANCE.md

install: all
	install -d $(addprefix $(DESTDIR),$(PREFIX)/bin $(UNITDIR) $(PREFIX)/lib/sysusers.d \
		$(PREFIX)/share/doc/salamander $(SYSCONFDIR)/salamander)
	install -m 755 $(BINS) $(DESTDIR)$(PREFIX)/bin
	for n in edge central; do \
		sed 's|@BINDIR@|$(PREFIX)/bin|; s|@SYSCONFDIR@|$(SYSCONFDIR)|' deploy/salamander-$$n.service | \
			install -m 644 /dev/stdin $(DESTDIR)$(UNITDIR)/salamander-$$n.service && \
		install -m 644 deploy/$$n.conf $(DESTDIR)$(SYSCONFDIR)/salamander/$$n.conf.sample || exit 1; \
	done
	sed 's|@BINDIR@|$(PREFIX)/bin|; s|@SYSCONFDIR@|$(SYSCONFDIR)|' deploy/salamander-resync.service | \
		install -m 644 /dev/stdin $(DESTDIR)$(UNITDIR)/salamander-resync.service
	install -m 644 deploy/salamander-resync.timer $(DESTDIR)$(UNITDIR)
	install -m 644 deploy/salamander.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/salamander.conf
	install -m 644 $(DOCS) $(DESTDIR)$(PREFIX)/share/doc/salamander

clean:
	rm -rf $(B) $(B)-asan $(B)-tsan $(B)-clang $(B)-fuzz

-include $(shell find $(B) -name '*.d' 2>/dev/null)
