#!/bin/bash
# go-cty 1.13.2, of the Go module proxy (Go of the machine, 1.18 or newer, or Debian 12's 1.19). In
# this form Nomad hands a task's configuration to its driver.
#
# Numbers in msgpack: a whole one is an integer, and a fraction a float64 where that is exact; any
# other becomes *text*. So 0.5 arrives as a number and 0.1 as the text "0.1", of one and the same
# attribute of type number; a large power of ten is a text of all its digits. A reader that knows
# the type has to take three forms.
#
# Seen: 3 is 03; 0.5 is cb3fe0000000000000; 0.1 is a3302e31, the text "0.1".
. "$(dirname "$0")/lib.bash"
export PATH="$PATH:/usr/local/go/bin"
if ! command -v go > /dev/null; then
    unpack golang-1.19-go golang-1.19-src
    export GOROOT=$ROOT/usr/lib/go-1.19 PATH="$PATH:$ROOT/usr/lib/go-1.19/bin"
fi

export GOPATH=$WORK/go GOCACHE=$WORK/cache GOFLAGS='-mod=mod -modcacherw'
export GOTOOLCHAIN=local CGO_ENABLED=0
cat > go.mod <<'END'
module finding

go 1.18

require github.com/zclconf/go-cty v1.13.2
END
cat > main.go <<'END'
package main

import (
	"fmt"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/msgpack"
)

func main() {
	for _, text := range []string{"3", "0.5", "0.1"} {
		bytes, err := msgpack.Marshal(cty.MustParseNumberVal(text), cty.Number)
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s is %x\n", text, bytes)
	}
}
END
go mod download github.com/zclconf/go-cty 2> said || {
    cat said >&2
    echo "$NAME: the module proxy does not serve go-cty 1.13.2" >&2
    exit 2
}
go build -o numbers . 2> said || { cat said >&2; exit 3; }
seen=$(./numbers | paste --serial --delimiters=,)
expect "how numbers are written" "3 is 03,0.5 is cb3fe0000000000000,0.1 is a3302e31" "$seen"
saw "of one number attribute, 0.5 is written as a float64 and 0.1 as the text \"0.1\""
