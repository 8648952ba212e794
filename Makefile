# nomad-driver-nspawn: see `make help`.
#
# Non-recursive; sources are found by wildcard, objects mirror the tree below $(OUT)/$(BUILD)/.
# BUILD=release (default) or asan chooses the variant, CC the compiler.

.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

BUILD     ?= release
OUT       ?= build
PREFIX    ?= /usr/local
PLUGINDIR ?= /opt/nomad/plugins
CC        := $(if $(filter default undefined,$(origin CC)),gcc,$(CC))
ROOMS     ?= reactor logs tasks rpc
SKIP      ?=

VERSION   := $(shell sed -n 's/^## \([0-9][0-9.]*\).*/\1/p' CHANGELOG.md 2>/dev/null | head -n 1)
VERSION   := $(or $(VERSION),0.0.0)
PACKAGES  := libsystemd libh2o-evloop libevent_core libprotobuf-c

O         := $(OUT)/$(BUILD)
GEN       := $(OUT)/gen
PLUGIN    := $(OUT)/nomad-driver-nspawn

# --- flags -----------------------------------------------------------------------------------

WARNINGS  := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
             -Wold-style-definition -Wpointer-arith -Wwrite-strings -Wcast-qual -Wundef -Wvla \
             -Wformat=2 -Wimplicit-fallthrough -Wconversion -Wno-sign-conversion \
             -Wno-missing-field-initializers
HARDENING := -fPIE -fstack-protector-strong -fstack-clash-protection -D_FORTIFY_SOURCE=2 \
             -fcf-protection=full

CPPFLAGS_ALL := -D_GNU_SOURCE -DPLUGIN_VERSION='"$(VERSION)"' -I. -isystem $(GEN)
CFLAGS_ALL   := -std=gnu17 -g -ffunction-sections -fdata-sections $(WARNINGS)
LDFLAGS_ALL  := -Wl,--gc-sections -Wl,--as-needed
LIBS         := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null) -lmsgpackc

ifeq ($(BUILD),release)
CFLAGS_ALL  += -O2 $(HARDENING)
LDFLAGS_ALL += -pie -Wl,-z,relro,-z,now,-z,noexecstack,-z,defs
else ifeq ($(BUILD),asan)
CFLAGS_ALL  += -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
LDFLAGS_ALL += -fsanitize=address,undefined
else
$(error BUILD=$(BUILD): expected release or asan)
endif

# --- files -----------------------------------------------------------------------------------

SKIPPED      := $(foreach s,$(SKIP),$(wildcard $(s)))
SOURCES      := $(filter-out $(SKIPPED),$(sort $(wildcard $(ROOMS:%=%/*.c))))
PROTOS       := $(sort $(wildcard proto/*.proto))
KNOWN_PROTOS := any duration empty timestamp
PROTO_NAMES  := $(PROTOS:proto/%.proto=%) $(KNOWN_PROTOS:%=google/protobuf/%)
GEN_C        := $(PROTO_NAMES:%=$(GEN)/%.pb-c.c)
GEN_H        := $(GEN_C:.c=.h)
OBJECTS      := $(patsubst %.c,$(O)/%.o,$(filter-out reactor/main.c,$(SOURCES)))
GEN_OBJECTS  := $(GEN_C:$(GEN)/%.c=$(O)/gen/%.o)
SUPPORT      := $(patsubst %.c,$(O)/%.o,$(sort $(wildcard tests/support/*.c)))
UNIT_TESTS   := $(patsubst %.c,$(O)/%,$(filter-out $(SKIPPED),$(sort $(wildcard tests/unit/test_*.c))))
LIBRARY      := $(O)/libplugin.a

.PHONY: all
all: $(PLUGIN)

# --- rules -----------------------------------------------------------------------------------

$(GEN)/google/protobuf/%.pb-c.c $(GEN)/google/protobuf/%.pb-c.h: /usr/include/google/protobuf/%.proto
	@mkdir -p $(GEN)
	protoc-c -I/usr/include --c_out=$(GEN) google/protobuf/$*.proto

# protoc-c's own service code is not used, and cannot be generated for a service with a method called
# Init: nomad__driver__init would be defined twice. So the Driver service is left out of what it reads.
STRIPPED  := $(PROTOS:%=$(GEN)/%)
.SECONDARY: $(STRIPPED) $(GEN_C) $(GEN_H)

$(GEN)/proto/%.proto: proto/%.proto
	@mkdir -p $(@D)
	sed '/^service Driver /,/^}/d' $< > $@

$(GEN)/%.pb-c.c $(GEN)/%.pb-c.h: $(GEN)/proto/%.proto | $(STRIPPED)
	protoc-c -I$(GEN)/proto -I/usr/include --c_out=$(GEN) $*.proto

$(O)/gen/%.o: $(GEN)/%.c | $(GEN_H)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS_ALL) -I$(GEN) $(CFLAGS_ALL) -w $(CFLAGS) -MMD -MP -c -o $@ $<

# libh2o's own headers want this said by hand (its .pc file lacks it), and do not pass our warnings.
$(O)/rpc/h2_codec.o: CPPFLAGS_ALL += -DH2O_USE_LIBUV=0 -Irpc/h2o_compat

$(O)/%.o: %.c Makefile CHANGELOG.md | $(GEN_H)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(LIBRARY): $(OBJECTS) $(GEN_OBJECTS)
	@rm -f $@
	$(AR) qcs $@ $^

$(O)/nomad-driver-nspawn: $(O)/reactor/main.o $(LIBRARY)
	$(CC) $(CFLAGS_ALL) $(CFLAGS) $(LDFLAGS_ALL) $(LDFLAGS) -o $@ $^ $(LIBS)

$(PLUGIN): $(OUT)/release/nomad-driver-nspawn
	strip -o $@ $<

$(O)/tests/unit/test_%: $(O)/tests/unit/test_%.o $(SUPPORT) $(LIBRARY)
	$(CC) $(CFLAGS_ALL) $(CFLAGS) $(LDFLAGS_ALL) $(LDFLAGS) -o $@ $^ $(LIBS) -lcmocka

-include $(OBJECTS:.o=.d) $(SUPPORT:.o=.d) $(UNIT_TESTS:=.d) $(O)/reactor/main.d

.PHONY: unit
unit: $(UNIT_TESTS)

.PHONY: clean
clean:
	rm -rf $(OUT)
