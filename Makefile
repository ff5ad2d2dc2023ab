# igwd's build: one make, no recursion into directories.
#
#   make                  $(BUILD)/igwd
#   make test [T=NAME]    everything, or what matches NAME; sets up what it needs first
#   make unit asan tsan   the unit tests: plain, with ASan and UBSan, with TSan
#   make fuzz [T=NAME]    each fuzzer for FUZZ_SECONDS
#   make lint bench demo install clean
#   make tour             the pictures of docs/tour.md, taken anew
#   make deb              the Debian package, in $(BUILD)/deb
#
# BUILD is where everything goes that is made. SAN chooses a sanitizer: empty, address, thread or fuzz. GEN (Envoy's schema
# as C), VENV (Python with Envoy, node and the test tools) and NODE (what web/ and tests/ take from npm) do not depend on
# SAN and are shared by all variants. LAYERS leaves out the upper ones, while they do not compile: make LAYERS="base store" build/unit/map_test

BUILD ?= build
SAN ?=
GEN ?= build/gen
VENV ?= build/venv
NODE ?= build/node
PREFIX ?= /usr/local
DESTDIR ?=
SBINDIR = $(PREFIX)/sbin
UNITDIR = $(PREFIX)/lib/systemd/system
SYSUSERSDIR = $(PREFIX)/lib/sysusers.d
DOCDIR = $(PREFIX)/share/doc/igwd
MANDIR = $(PREFIX)/share/man
COMPLETIONDIR = $(PREFIX)/share/bash-completion/completions
LAYERS ?= base store proto server api
T ?=
CC = gcc
CXX = g++
AR = gcc-ar
INSTALL ?= install
CLANG_TIDY ?= clang-tidy-14
FUZZ_SECONDS ?= 30
JOBS ?= $(shell nproc)

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules --no-builtin-variables
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(JOBS)
endif

# ---- what there is -------------------------------------------------------------------------------------------------

SOURCES := $(wildcard $(LAYERS:%=%/*.c))
CXX_SOURCES := $(wildcard $(LAYERS:%=%/*.cc))
MAIN := $(filter server/main.c,$(SOURCES))
UNIT_TESTS := $(wildcard tests/unit/*_test.c)
UNIT_SHARED := $(filter-out $(UNIT_TESTS),$(wildcard tests/unit/*.c))
TOOLS := $(wildcard tests/tools/*.c)
FUZZERS := $(wildcard tests/fuzz/*_fuzz.c)
GENERATOR := $(if $(filter proto,$(LAYERS)),$(wildcard proto/generate.py))

objects = $(patsubst %,$(BUILD)/obj/%.o,$(basename $(1)))
LIB_OBJECTS := $(call objects,$(filter-out $(MAIN),$(SOURCES)) $(CXX_SOURCES))
MAIN_OBJECTS := $(call objects,$(MAIN))
UNIT_PROGRAMS := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(UNIT_TESTS))
TOOL_PROGRAMS := $(patsubst tests/tools/%.c,$(BUILD)/tools/%,$(TOOLS))
FUZZ_PROGRAMS := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(FUZZERS))
LIB := $(BUILD)/libigwd.a
UNIT_LIB := $(BUILD)/libunit.a
PROGRAM := $(if $(MAIN),$(BUILD)/igwd)
ifneq ($(GENERATOR),)
GEN_STAMP := $(GEN)/stamp
GEN_LIB := $(GEN)/libenvoy.a
GEN_TABLES := $(BUILD)/obj/schema_tables.o
endif
WEB_PAGES := $(if $(filter api,$(LAYERS)),$(BUILD)/obj/web_pages.o)

# ---- flags ---------------------------------------------------------------------------------------------------------

PACKAGES = jansson grpc gpr libprotobuf-c sqlite3 libssl libcrypto re2 libxxhash libmicrohttpd gnutls zlib
# Asked for once, and only when something is compiled: the packages may have to be installed by this very make.
PKG_CFLAGS = $(eval PKG_CFLAGS := $(shell pkg-config --cflags $(PACKAGES)))$(PKG_CFLAGS)
PKG_LIBS = $(eval PKG_LIBS := $(shell pkg-config --libs $(PACKAGES)))$(PKG_LIBS)

ifeq ($(SAN),address)
SAN_FLAGS = -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
else ifeq ($(SAN),thread)
SAN_FLAGS = -fsanitize=thread -fno-omit-frame-pointer
else ifeq ($(SAN),fuzz)
CC = clang-14
CXX = clang++-14
SAN_FLAGS = -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
else ifeq ($(SAN),)
SAN_FLAGS = -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
else
$(error SAN is "$(SAN)"; it may be empty, address, thread or fuzz)
endif

WARNINGS = -Wall -Wextra -Werror -Wshadow -Wpointer-arith -Wwrite-strings -Wundef -Wformat=2 -Wvla -Walloca \
    -Wdate-time -Wcast-align -Wdouble-promotion -Winit-self -Wimplicit-fallthrough -Wredundant-decls \
    -Wunused -Wno-missing-field-initializers
C_WARNINGS = $(WARNINGS) -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wnested-externs
ifeq ($(findstring clang,$(CC)),)
C_WARNINGS += -Wlogical-op -Wduplicated-cond -Wjump-misses-init
endif

CFLAGS ?= -O2 -g
CXXFLAGS ?= -O2 -g
CPPFLAGS += -I. -isystem $(GEN)/c -D_GNU_SOURCE
HARDENING = -fPIE -fstack-protector-strong
ALL_CFLAGS = -std=gnu11 $(CFLAGS) $(HARDENING) $(SAN_FLAGS) $(C_WARNINGS) $(PKG_CFLAGS)
ALL_CXXFLAGS = -std=c++17 $(CXXFLAGS) $(HARDENING) $(SAN_FLAGS) $(WARNINGS) $(PKG_CFLAGS)
LINK = $(CXX) -pie -Wl,-z,relro,-z,now $(SAN_FLAGS) $(LDFLAGS)
LIBS = $(PKG_LIBS) -pthread -lm
GEN_CFLAGS = -std=gnu11 -O1 -fPIE -w -I. -I$(GEN)/c $(PKG_CFLAGS)

# These goals promise to work where only make and git are: what they need is installed before anything else happens.
SELF_SUFFICIENT = test demo bench tour
ifneq ($(filter $(SELF_SUFFICIENT),$(MAKECMDGOALS)),)
FIRST = deps
endif

# ---- programs ------------------------------------------------------------------------------------------------------

.PHONY: all unit unit-programs tools
all: $(PROGRAM) $(LIB)
unit-programs: $(UNIT_PROGRAMS)
tools: $(TOOL_PROGRAMS)

$(BUILD)/obj/%.o: %.c | $(FIRST)
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(ALL_CFLAGS) $(CPPFLAGS) -MMD -MP -c -o $@ $<

# Tests hand texts to argv-like parameters all the time.
$(BUILD)/obj/tests/%.o: C_WARNINGS += -Wno-write-strings

# The contract stands in the program.
$(BUILD)/obj/api/contract.o: openapi.yaml

$(BUILD)/obj/%.o: %.cc | $(FIRST)
	@mkdir -p $(@D)
	@echo "  CXX   $<"
	@$(CXX) $(ALL_CXXFLAGS) $(CPPFLAGS) -MMD -MP -c -o $@ $<

# The list of objects is a prerequisite by content: a removed source must leave the archive.
$(BUILD)/objects.list: FORCE
	@mkdir -p $(@D)
	@echo '$(LIB_OBJECTS)' | cmp -s - $@ || echo '$(LIB_OBJECTS)' > $@

$(LIB): $(LIB_OBJECTS) $(GEN_TABLES) $(WEB_PAGES) $(BUILD)/objects.list
	@echo "  AR    $@"
	@rm -f $@
	@$(AR) qcs $@ $(filter %.o,$^)

$(BUILD)/igwd: $(MAIN_OBJECTS) $(LIB) $(GEN_LIB)
	@echo "  LINK  $@"
	@$(LINK) -o $@ $^ $(LIBS)

# An archive, so that a test links only those of the shared files that it uses.
$(UNIT_LIB): $(call objects,$(UNIT_SHARED))
	@rm -f $@
	@$(AR) qcs $@ $^

$(UNIT_PROGRAMS): $(BUILD)/unit/%: $(BUILD)/obj/tests/unit/%.o $(UNIT_LIB) $(LIB) $(GEN_LIB)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(LINK) -o $@ $^ $(LIBS)

$(TOOL_PROGRAMS): $(BUILD)/tools/%: $(BUILD)/obj/tests/tools/%.o $(LIB) $(GEN_LIB)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(LINK) -o $@ $^ $(LIBS)

# It stands in for a program that is not ours.
$(BUILD)/tools/envoy_probe: LIBS =

# Headers that were found while compiling; an object that does not exist yet needs no list.
-include $(patsubst %.o,%.d,$(LIB_OBJECTS) $(MAIN_OBJECTS) $(call objects,$(UNIT_TESTS) $(UNIT_SHARED) $(TOOLS) $(FUZZERS)))

# ---- Envoy's schema as C, generated --------------------------------------------------------------------------------

ifneq ($(GENERATOR),)
$(GEN_STAMP): $(wildcard proto/*.py) $(VENV)/stamp | $(FIRST)
	@echo "  GEN   $(GEN)"
	@mkdir -p $(GEN)
	@$(VENV)/bin/python proto/generate.py --out $(GEN)

# Which files there are is known only after generating, so one rule compiles them all.
$(GEN_LIB): $(GEN_STAMP)
	@echo "  CC    $(GEN)/c/**.pb-c.c"
	@find $(GEN)/c -name '*.pb-c.c' | LC_ALL=C sort > $(GEN)/sources.list
	@xargs -P $(JOBS) -n 8 sh -c 'for f; do $(CC) $(GEN_CFLAGS) -c -o "$${f%.c}.o" "$$f" || exit 255; done' sh \
	    < $(GEN)/sources.list
	@rm -f $@.new
	@sed 's/\.c$$/.o/' $(GEN)/sources.list | xargs $(AR) qcs $@.new
	@mv $@.new $@

$(GEN_TABLES): $(GEN_STAMP)
	@mkdir -p $(@D)
	@echo "  CC    $(GEN)/schema_tables.c"
	@$(CC) $(GEN_CFLAGS) -MMD -MP -c -o $@ $(GEN)/schema_tables.c
-include $(GEN_TABLES:.o=.d)

# What may include generated headers waits for them.
$(filter $(BUILD)/obj/proto/% $(BUILD)/obj/server/%,$(LIB_OBJECTS) $(MAIN_OBJECTS)) \
    $(call objects,$(UNIT_TESTS) $(UNIT_SHARED) $(TOOLS) $(FUZZERS)): | $(GEN_STAMP)
endif

# ---- the dashboard, compressed and as part of the program ------------------------------------------------------------

WEB_FILES := $(wildcard web/*.html web/*.js web/*.css web/*.svg)

# A file that was removed leaves the program too: the list is a prerequisite by content.
$(BUILD)/web/files.list: FORCE
	@mkdir -p $(@D)
	@echo '$(WEB_FILES)' | cmp -s - $@ || echo '$(WEB_FILES)' > $@

$(BUILD)/web/pages.c: web/build.py web/imports.mjs $(WEB_FILES) $(BUILD)/web/files.list $(NODE)/web/stamp
	@echo "  WEB   $@"
	@/usr/bin/python3 web/build.py --modules $(NODE)/web/node_modules --node $(VENV)/bin/node --out $(@D)

$(BUILD)/obj/web_pages.o: $(BUILD)/web/pages.c
	@mkdir -p $(@D)
	@$(CC) $(ALL_CFLAGS) $(CPPFLAGS) -MMD -MP -c -o $@ $<
-include $(BUILD)/obj/web_pages.d

# ---- tests ---------------------------------------------------------------------------------------------------------

.PHONY: test asan tsan lint bench demo tour fuzz
SUB = $(MAKE) --no-print-directory GEN=$(GEN) VENV=$(VENV) NODE=$(NODE)

unit: $(UNIT_PROGRAMS)
	@failed=0; for p in $(UNIT_PROGRAMS); do $$p $(T) || { failed=1; echo "FAILED: $$p" >&2; }; done; exit $$failed

asan:
	@$(SUB) BUILD=$(BUILD)/asan SAN=address unit

tsan:
	@TSAN_OPTIONS=suppressions=$(CURDIR)/tests/tsan.supp $(SUB) BUILD=$(BUILD)/tsan SAN=thread unit

# The sanitized builds wait for the plain one: they share what is generated.
.PHONY: san-programs
san-programs: all unit-programs tools $(VENV)/stamp $(NODE)/tests/stamp
	@$(SUB) BUILD=$(BUILD)/asan SAN=address all unit-programs
	@$(SUB) BUILD=$(BUILD)/tsan SAN=thread all unit-programs

# Without a package for what has nothing to do with it.
test: san-programs $(if $(or $(findstring package,$(T)),$(if $(T),,all)),deb)
	@TEST_NODE='$(abspath $(NODE))' $(VENV)/bin/python tests/run.py --build $(BUILD) $(if $(T),--name '$(T)')

demo: all tools $(VENV)/stamp
	@$(VENV)/bin/python tests/demo.py --build $(BUILD) $(if $(ONCE),--once)

tour: all tools $(VENV)/stamp
	@TEST_BUILD=$(BUILD) TEST_TOUR='$(CURDIR)/docs/tour' $(VENV)/bin/python -m pytest -q -p no:cacheprovider tests/e2e/test_tour.py

bench: all tools $(VENV)/stamp
	@$(VENV)/bin/python tests/bench.py --build $(BUILD)

lint: $(GEN_STAMP) $(NODE)/tests/stamp
	@/usr/bin/python3 tests/lint.py --tidy $(CLANG_TIDY) --node $(VENV)/bin/node --modules $(NODE)/tests/node_modules \
	    --jobs $(JOBS) -- $(CPPFLAGS) $(PKG_CFLAGS)

# Fuzzing needs coverage compiled into everything: a variant of its own.
$(FUZZ_PROGRAMS): $(BUILD)/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(LIB) $(GEN_LIB)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(LINK) -fsanitize=fuzzer -o $@ $^ $(LIBS)

.PHONY: fuzz-run
fuzz-run: $(FUZZ_PROGRAMS)
	@for p in $(FUZZ_PROGRAMS); do \
	    case $$p in *$(T)*) ;; *) continue ;; esac; \
	    echo "== $$p"; mkdir -p $$p.corpus; \
	    $$p -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 -artifact_prefix=$$p. $$p.corpus || exit 1; \
	done

fuzz:
	@$(SUB) BUILD=$(BUILD)/fuzzing SAN=fuzz T=$(T) fuzz-run

# ---- what must be there --------------------------------------------------------------------------------------------

.PHONY: deps venv gen
deps:
	@missing=$$(dpkg-query -W -f '$${Package} $${db:Status-Abbrev}\n' $$(grep -v '^#' tests/packages.txt) 2>&1 | \
	    awk '/no packages found matching/ { print $$NF } !/no packages/ && $$2 != "ii" { print $$1 }'); \
	if [ -n "$$missing" ]; then \
	    echo "  APT   "$$missing; \
	    sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	    $$sudo apt-get update -q && \
	    $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; \
	fi

venv: $(VENV)/stamp
# The stamp holds what was installed: another requirements.txt makes another environment.
$(VENV)/stamp: requirements.txt | $(FIRST)
	@echo "  VENV  $(VENV)"
	@/usr/bin/python3 -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@cp requirements.txt $@

# What a directory takes from npm, as its lock has it: checked by hash, nothing of it is run.
$(NODE)/%/stamp: %/package.json %/package-lock.json %/.npmrc $(VENV)/stamp
	@echo "  NPM   $(@D)"
	@mkdir -p $(@D)
	@cp $*/package.json $*/package-lock.json $*/.npmrc $(@D)/
	@cd $(@D) && '$(abspath $(VENV))/bin/npm' ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error
	@touch $@

gen: $(GEN_STAMP) $(GEN_LIB)

# ---- installing ----------------------------------------------------------------------------------------------------

.PHONY: install deb clean FORCE
# Into DESTDIR. Settings are the administrator's: the sample lies beside the documentation.
install: $(BUILD)/igwd
	$(INSTALL) -d $(addprefix $(DESTDIR),$(SBINDIR) $(UNITDIR) $(SYSUSERSDIR) $(DOCDIR) $(MANDIR)/man5 $(MANDIR)/man8 \
	    $(COMPLETIONDIR))
	$(INSTALL) -m 0755 $(BUILD)/igwd $(DESTDIR)$(SBINDIR)/igwd
	sed 's,@SBINDIR@,$(SBINDIR),' dist/systemd/igwd.service.in > $(DESTDIR)$(UNITDIR)/igwd.service
	chmod 0644 $(DESTDIR)$(UNITDIR)/igwd.service
	$(INSTALL) -m 0644 dist/systemd/igwd-xds.socket dist/systemd/igwd-api.socket $(DESTDIR)$(UNITDIR)
	$(INSTALL) -m 0644 dist/systemd/igwd.sysusers $(DESTDIR)$(SYSUSERSDIR)/igwd.conf
	$(INSTALL) -m 0644 dist/igwd.conf $(DESTDIR)$(DOCDIR)/igwd.conf
	$(INSTALL) -m 0644 dist/man/igwd.conf.5 $(DESTDIR)$(MANDIR)/man5/igwd.conf.5
	$(INSTALL) -m 0644 dist/man/igwd.8 $(DESTDIR)$(MANDIR)/man8/igwd.8
	$(INSTALL) -m 0644 dist/completion/igwd $(DESTDIR)$(COMPLETIONDIR)/igwd

# In a copy of what git knows or would take: nothing is left in the tree, and the package lies in $(BUILD)/deb. What is
# made is shared, by links where its place is relative: copies keep their times, so nothing is made twice, and while the
# tests are built beside it nothing is written that they read.
deb: $(BUILD)/igwd
	@rm -rf $(BUILD)/deb && mkdir -p $(BUILD)/deb/igwd
	@git ls-files -z -c -o --exclude-standard | xargs -0 ls -d 2>/dev/null | tar -c -T - | tar -x -C $(BUILD)/deb/igwd
	@for made in $(filter-out /%,$(BUILD) $(GEN) $(VENV) $(NODE)); do \
	    link=$(BUILD)/deb/igwd/$$made; \
	    [ -e $$link ] || { mkdir -p $$(dirname $$link) && ln -s $(CURDIR)/$$made $$link; } || exit 1; \
	done
	cd $(BUILD)/deb/igwd && env -u MAKEFLAGS -u MAKELEVEL BUILD=$(BUILD) GEN=$(GEN) VENV=$(VENV) NODE=$(NODE) \
	    dpkg-buildpackage -b -us -uc -nc

clean:
	rm -rf $(BUILD)

FORCE:
