# nomad-driver-nspawn: see `make help`.
#
# Non-recursive; sources are found by wildcard, objects mirror the tree below $(OUT)/$(BUILD)/.
# BUILD=release (default), asan or fuzz chooses the variant, CC the compiler.

.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules --no-print-directory

BUILD     ?= release
OUT       ?= build
PREFIX    ?= /usr/local
PLUGINDIR ?= /opt/nomad/plugins
DOCDIR    := $(PREFIX)/share/doc/nomad-driver-nspawn
CC        := $(if $(filter default undefined,$(origin CC)),$(if $(filter fuzz,$(BUILD)),clang,gcc),$(CC))
ROOMS     ?= reactor logs tasks rpc
SKIP      ?=
H2O       ?= source

VERSION   := $(shell sed -n 's/^## \([0-9][0-9.]*\).*/\1/p' CHANGELOG.md 2>/dev/null | head -n 1)
VERSION   := $(or $(VERSION),0.0.0)

O         := $(OUT)/$(BUILD)
# One short line a step; V=1 shows the commands.
Q         := $(if $(V),,@)
say        = $(if $(V),,@printf '  %-7s %s\n' $(1) $(2))
GEN       := $(OUT)/gen
PLUGIN    := $(OUT)/nomad-driver-nspawn

# --- flags -----------------------------------------------------------------------------------

WARNINGS  := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
             -Wold-style-definition -Wpointer-arith -Wwrite-strings -Wcast-qual -Wundef -Wvla \
             -Wformat=2 -Wimplicit-fallthrough -Wconversion -Wno-sign-conversion \
             -Wno-missing-field-initializers
HARDENING := -fPIE -fstack-protector-strong -fstack-clash-protection -D_FORTIFY_SOURCE=2 \
             -fcf-protection=full

CPPFLAGS_ALL := -D_GNU_SOURCE -DINIT_PROGRAM_FILE='"$(OUT)/init/init"' -DPLUGIN_VERSION='"$(VERSION)"' -I. -isystem $(GEN)
CFLAGS_ALL   := -std=gnu17 -g -ffunction-sections -fdata-sections $(WARNINGS)
LDFLAGS_ALL  := -Wl,--gc-sections -Wl,--as-needed
# libnghttp2 plays the peer of our own HTTP/2.
TEST_LIBS := -lcmocka -lnghttp2

ifeq ($(BUILD),release)
CFLAGS_ALL  += -O2 $(HARDENING)
LDFLAGS_ALL += -pie -Wl,-z,relro,-z,now,-z,noexecstack,-z,defs,-z,pack-relative-relocs
else ifeq ($(BUILD),asan)
CFLAGS_ALL  += -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
LDFLAGS_ALL += -fsanitize=address,undefined
else ifeq ($(BUILD),fuzz)
# Each of libFuzzer's flags stands alone: AFL++'s compiler takes its own part for them.
FUZZING     := -fsanitize=fuzzer-no-link -fsanitize=address,undefined -fno-sanitize-recover=all \
               $(if $(findstring afl,$(CC)),,-fprofile-instr-generate -fcoverage-mapping)
CFLAGS_ALL  += -O1 -fno-omit-frame-pointer $(FUZZING)
LDFLAGS_ALL := -fsanitize=address,undefined
else ifeq ($(BUILD),coverage)
CFLAGS_ALL  += -O0 --coverage -include tests/support/coverage_exit.h
LDFLAGS_ALL += --coverage
else
$(error BUILD=$(BUILD): expected release, asan, fuzz or coverage)
endif

# --- libraries -------------------------------------------------------------------------------

# Linked in from their static libraries where there are such, so that one program runs on every
# distribution; libsystemd and libmnl are as good as part of the systems it runs on.
library       = $(firstword $(wildcard $(shell $(CC) -print-file-name=lib$(strip $(1)) 2>/dev/null)))
archived      = $(foreach l,$(1),$(if $(call library,$(l).a),-l:lib$(l).a,-l$(l)))
# Debian changed its name after 12.
MSGPACK      := $(if $(call library,msgpack-c.so),msgpack-c,msgpackc)
LIBS         := $(call archived,event_core protobuf-c $(MSGPACK)) -lsystemd -lmnl

# The codec of libh2o is compiled from its source, which `make deps` has fetched, and needs nothing of
# what its library is linked with (OpenSSL). H2O=package takes the distribution's library all the same.
ifeq ($(H2O),source)
ifeq ($(origin H2O_SOURCE),undefined)
H2O_SOURCE   := $(shell tests/h2o-source where)
endif
H2O_FILES    := http2/frame http2/hpack common/memory common/string common/url core/headers core/token
H2O_OBJECTS  := $(H2O_FILES:%=$(O)/h2o/%.o) $(O)/rpc/h2/h2o_compat/rest.o
H2O_HEADER   := $(H2O_SOURCE)/include/h2o.h
H2O_INCLUDES := -isystem $(H2O_SOURCE)/include -isystem $(H2O_SOURCE)/deps/yoml
else ifeq ($(H2O),package)
LIBS         += -lh2o-evloop
else
$(error H2O=$(H2O): expected source or package)
endif
# What stands in for headers that libh2o includes and its codec does not need goes before the real ones.
# Which event loop it is to be for must be said by hand.
H2O_FLAGS    := -DH2O_USE_LIBUV=0 -isystem rpc/h2/h2o_compat $(H2O_INCLUDES)

# --- files -----------------------------------------------------------------------------------

SKIPPED      := $(foreach s,$(SKIP),$(wildcard $(s)))
# Folders of folders; what is in tasks/inside/init is a program of its own.
SOURCES      := $(filter-out $(SKIPPED),$(sort $(wildcard $(ROOMS:%=%/*.c) $(ROOMS:%=%/*/*.c) tasks/inside/shared/*.c)))
PROTOS       := $(sort $(wildcard proto/*.proto))
KNOWN_PROTOS := any duration empty timestamp
PROTO_NAMES  := $(PROTOS:proto/%.proto=%) $(KNOWN_PROTOS:%=google/protobuf/%)
GEN_C        := $(PROTO_NAMES:%=$(GEN)/%.pb-c.c)
GEN_H        := $(GEN_C:.c=.h)
OBJECTS      := $(patsubst %.c,$(O)/%.o,$(filter-out rpc/main.c,$(SOURCES)))
GEN_OBJECTS  := $(GEN_C:$(GEN)/%.c=$(O)/gen/%.o)
SUPPORT      := $(patsubst %.c,$(O)/%.o,$(sort $(shell find tests/support -name '*.c')))
UNIT_TESTS   := $(patsubst %.c,$(O)/%,$(filter-out $(SKIPPED),$(sort $(shell find $(or $(wildcard tests/unit/$(T)),tests/unit) -name 'test_*.c'))))
LIBRARY      := $(O)/libplugin.a
# PID 1 of single processes: static, with musl, alike in every variant, and part of the plugin.
INIT         := $(OUT)/init/init
INIT_SOURCES := $(sort $(wildcard tasks/inside/init/*.c tasks/inside/shared/*.c)) reactor/alloc.c reactor/strv.c
INIT_OBJECTS := $(INIT_SOURCES:%.c=$(OUT)/init/%.o)
INIT_CC      := musl-gcc
# The kernel's headers are the distribution's, behind musl's own.
INIT_FLAGS   := -Os -static -fno-pie -no-pie -fomit-frame-pointer -fno-asynchronous-unwind-tables \
                -idirafter /usr/include -idirafter /usr/include/$(shell gcc -print-multiarch 2>/dev/null)
# What other people's test suites run against: gRPC's TestService on our rpc/.
SERVER       := $(O)/tests/conformance/server
SERVER_OBJS  := $(patsubst %.c,$(O)/%.o,$(sort $(wildcard tests/conformance/*.c)))
SERVER_GEN   := $(patsubst tests/conformance/proto/%.proto,$(GEN)/%.pb-c,\
                  $(sort $(wildcard tests/conformance/proto/*.proto)))
FUZZERS      := $(patsubst %.c,$(O)/%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
FUZZ_SUPPORT := $(patsubst %.c,$(O)/%.o,$(filter-out tests/fuzz/fuzz_%,$(sort $(wildcard tests/fuzz/*.c))))

.PHONY: all
all: $(PLUGIN)

# --- rules -----------------------------------------------------------------------------------

$(GEN)/google/protobuf/%.pb-c.c $(GEN)/google/protobuf/%.pb-c.h: /usr/include/google/protobuf/%.proto
	$(call say,PROTOC,$*.proto)
	@mkdir -p $(GEN)
	$(Q)protoc -I/usr/include --c_out=$(GEN) google/protobuf/$*.proto

# protoc-c's own service code is not used, and cannot be generated for a service with a method called
# Init: nomad__driver__init would be defined twice. So the Driver service is left out of what it reads.
STRIPPED  := $(PROTOS:%=$(GEN)/%)
.SECONDARY:

$(GEN)/proto/%.proto: proto/%.proto
	@mkdir -p $(@D)
	$(Q)sed '/^service Driver /,/^}/d' $< > $@

$(GEN)/proto/%.proto: tests/conformance/proto/%.proto
	@mkdir -p $(@D)
	$(Q)cp $< $@

$(GEN)/%.pb-c.c $(GEN)/%.pb-c.h: $(GEN)/proto/%.proto | $(STRIPPED)
	$(call say,PROTOC,$*.proto)
	$(Q)protoc -I$(GEN)/proto -I/usr/include --c_out=$(GEN) $*.proto

$(O)/gen/%.o: $(GEN)/%.c | $(GEN_H)
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) -I$(GEN) $(CFLAGS_ALL) -w $(CFLAGS) -MMD -MP -c -o $@ $<

# Its code does not pass our warnings.
$(O)/h2o/%.o: $(H2O_HEADER) Makefile
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(H2O_FLAGS) $(filter-out --coverage,$(CFLAGS_ALL)) -w \
		$(CPPFLAGS) $(CFLAGS) -c -o $@ $(H2O_SOURCE)/lib/$*.c

$(O)/rpc/h2/h2_codec.o $(O)/rpc/h2/h2o_compat/rest.o: CPPFLAGS_ALL += $(H2O_FLAGS)
$(O)/rpc/h2/h2_codec.o $(O)/rpc/h2/h2o_compat/rest.o: | $(H2O_HEADER)

ifneq ($(H2O_HEADER),)
$(H2O_HEADER):
	@echo "no source of libh2o in '$(H2O_SOURCE)': make deps fetches it;" \
		"H2O=package links the distribution's library, H2O_SOURCE=folder takes another copy" >&2
	@false
endif

$(O)/%.o: %.c Makefile CHANGELOG.md | $(GEN_H)
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# cmocka.h as all its versions have it.
$(O)/tests/%.o: CPPFLAGS_ALL += -isystem tests/support/compat

$(OUT)/init/%.o: %.c Makefile
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(INIT_CC) -D_GNU_SOURCE -I. -std=gnu17 -ffunction-sections -fdata-sections $(WARNINGS) \
		$(INIT_FLAGS) -MMD -MP -c -o $@ $<

$(INIT): $(INIT_OBJECTS)
	$(call say,LINK,$@)
	$(Q)$(INIT_CC) $(INIT_FLAGS) -Wl,--gc-sections -Wl,-z,noexecstack -s -o $@ $^

$(O)/tasks/inside/init_program.o: $(INIT)

$(LIBRARY): $(OBJECTS) $(GEN_OBJECTS) $(H2O_OBJECTS)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

$(O)/nomad-driver-nspawn: $(O)/rpc/main.o $(LIBRARY)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(CFLAGS) $(LDFLAGS_ALL) $(LDFLAGS) -o $@ $^ $(LIBS)

$(PLUGIN): $(OUT)/release/nomad-driver-nspawn
	$(call say,STRIP,$@)
	$(Q)strip -o $@ $<

$(UNIT_TESTS): $(O)/tests/unit/%: $(O)/tests/unit/%.o $(SUPPORT) $(LIBRARY)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(CFLAGS) $(LDFLAGS_ALL) $(LDFLAGS) -o $@ $^ $(LIBS) $(TEST_LIBS)

$(SERVER_OBJS): | $(SERVER_GEN:=.h)
$(SERVER): $(SERVER_OBJS) $(SERVER_GEN:$(GEN)/%=$(O)/gen/%.o) $(LIBRARY)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(CFLAGS) $(LDFLAGS_ALL) $(LDFLAGS) -o $@ $^ $(LIBS)

-include $(SERVER_OBJS:.o=.d)

# A fuzzer is its own main program, or else one that replays files.
ifeq ($(BUILD),fuzz)
FUZZ_SUPPORT := $(filter-out %/replay.o,$(FUZZ_SUPPORT))
FUZZ_MAIN    := -fsanitize=fuzzer
endif

$(O)/tests/fuzz/fuzz_%: $(O)/tests/fuzz/fuzz_%.o $(FUZZ_SUPPORT) $(LIBRARY)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(CFLAGS) $(LDFLAGS_ALL) $(LDFLAGS) $(FUZZ_MAIN) -o $@ $^ $(LIBS)

-include $(FUZZERS:=.d) $(FUZZ_SUPPORT:.o=.d)
-include $(INIT_OBJECTS:.o=.d)
-include $(OBJECTS:.o=.d) $(SUPPORT:.o=.d) $(UNIT_TESTS:=.d) $(O)/rpc/main.d

# --- targets ---------------------------------------------------------------------------------

.PHONY: unit unit-programs
unit-programs: $(UNIT_TESTS)

unit: deps
	@+T=$(T) tests/test unit

# What the suites of other people need.
DESCRIPTORS := $(OUT)/descriptors.pb
$(DESCRIPTORS): $(PROTOS)
	$(call say,PROTOC,$@)
	@mkdir -p $(@D)
	$(Q)protoc -Iproto -I/usr/include --include_imports --descriptor_set_out=$@ $(PROTOS)

.PHONY: conformance
conformance: $(SERVER) $(DESCRIPTORS)

.PHONY: fuzzers fuzz fuzz-all
fuzzers: $(FUZZERS)

fuzz: deps
	@+tests/fuzz/fuzz one $(or $(T),$(error T= names one of $(notdir $(FUZZERS:fuzz_%=%)))) $(or $(TIME),60)

fuzz-all: deps
	@+tests/fuzz/fuzz all $(or $(TIME),60)

.PHONY: deps deps-build deps-demo
deps:
	@H2O=$(H2O) tests/deps all

deps-build deps-demo: deps-%:
	@H2O=$(H2O) tests/deps $*

# What tests and demo need is installed first; only then is anything known of compilers and libraries.
.PHONY: demo test check check-conformance check-e2e
demo: deps-demo
	@+tests/demo

test: deps
	@+tests/test check check-conformance check-e2e

check: deps
	@+tests/test check check-conformance

check-conformance: deps
	@+tests/test check-conformance

check-e2e: deps
	@+tests/test check-e2e

# Beside another plugin: PEER=path.
.PHONY: bench
bench: deps
	@+$(MAKE) BUILD=release all $(OUT)/release/tests/conformance/server
	@OUT=$(OUT) tests/bench/bench

# Lines run by unit tests and corpora, per folder; fails below bounds.
.PHONY: coverage
coverage: deps
	@+OUT=$(OUT) tests/coverage

.PHONY: lint
lint: $(OBJECTS) $(O)/rpc/main.o $(INIT) $(O)/nomad-driver-nspawn
	@LINT_FLAGS="$(subst ",\",$(CPPFLAGS_ALL)) -std=gnu17 $(H2O_FLAGS)" \
		LINT_OBJECTS=$(O) LINT_INIT_OBJECTS=$(OUT)/init LINT_PROGRAM=$(O)/nomad-driver-nspawn tests/lint/lint

REFERENCE := $(O)/tests/reference/reference
$(REFERENCE): $(O)/tests/reference/reference.o $(LIBRARY)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(CFLAGS) $(LDFLAGS_ALL) $(LDFLAGS) -o $@ $^ $(LIBS)

-include $(REFERENCE).d

.PHONY: reference reference-check
reference: $(REFERENCE)
	@tests/reference/update $(REFERENCE)

reference-check: $(REFERENCE)
	@tests/reference/update --check $(REFERENCE)

.PHONY: format
format:
	clang-format -i $(or $(FILES),$(shell git ls-files '*.c' '*.h'))

.PHONY: install uninstall
install: $(PLUGIN)
	install -D -m 755 $(PLUGIN) $(DESTDIR)$(PLUGINDIR)/nomad-driver-nspawn
	install -d $(DESTDIR)$(DOCDIR)
	cp -r README.md CHANGELOG.md LICENSE examples $(DESTDIR)$(DOCDIR)/
	chmod -R u=rwX,go=rX $(DESTDIR)$(DOCDIR)

uninstall:
	rm -f $(DESTDIR)$(PLUGINDIR)/nomad-driver-nspawn
	rm -rf $(DESTDIR)$(DOCDIR)

.PHONY: clean
clean:
	rm -rf $(OUT)

.PHONY: help
help:
	@echo 'make             the plugin, hardened release: $(PLUGIN)'
	@echo 'make deps        install what build and tests need (Debian packages), fetch the source of libh2o;'
	@echo '                 nothing when all is there. deps-build, deps-demo: only what those need'
	@echo 'make demo        the example jobs under a real Nomad in a throwaway systemd host'
	@echo 'make test        everything: check and check-e2e'
	@echo 'make check       unit tests, and what fuzzing found, under address and undefined-behaviour'
	@echo '                 sanitizers; builds with gcc and clang; lint; check-conformance'
	@echo 'make unit T=tasks/network   the unit tests of one room, under sanitizers; without T: all'
	@echo 'make coverage    lines that unit tests and corpora run, per folder; fails below 80 % of a'
	@echo '                 folder of tasks/ or 88 % of the whole'
	@echo 'make check-conformance'
	@echo "                 other people's suites: gRPC's interop client and h2spec against rpc/ under"
	@echo "                 sanitizers; our messages compared with Nomad's, go-plugin's and gRPC's"
	@echo 'make check-e2e   end to end in the test host, with a real Nomad, and each call of the'
	@echo "                 driver by Nomad's own client; needs root."
	@echo '                 E2E=tests/e2e/x.bats or FILTER=regex: some only; HOST=name: another host'
	@echo 'make bench       measures the plugin beside one in Go, or PEER=/path/to/another/plugin: a row a'
	@echo '                 measure, with ratios; fails when a budget is exceeded; needs root'
	@echo 'make fuzz T=conn TIME=60   fuzz one target, tests/fuzz/fuzz_<T>.c, from its corpus'
	@echo 'make fuzz-all TIME=60      each in turn; then what their corpora cover'
	@echo 'make lint        include direction, sizes, unused exports, scripts, static analysis;'
	@echo '                 ONLY="form tidy": some only, see tests/lint/lint'
	@echo 'make reference   write examples/OPTIONS.md from the option tables; reference-check only tells'
	@echo '                 whether it is what they say'
	@echo 'make install     to DESTDIR, PLUGINDIR=$(PLUGINDIR), PREFIX=$(PREFIX); also uninstall'
	@echo 'make format      clang-format the tree, or FILES="..."; some lines are broken better by hand'
	@echo 'make clean       remove $(OUT)'
	@echo
	@echo 'BUILD=release|asan|fuzz   CC=gcc|clang   OUT=build   V=1 shows commands'
	@echo "H2O=package   link the distribution's libh2o; H2O_SOURCE=folder: take its codec from there"
	@echo 'SKIP="tests/unit/tasks/exec/test_x.c ..."   sources to leave out'
