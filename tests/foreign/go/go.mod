module check

go 1.25.0

require golang.org/x/mod v0.0.0

// The copy that the Go toolchain itself carries, to check its own checksum database with. It is
// put here by tests/foreign/set_up, so that no module proxy is needed. It needs no go.sum: its
// bytes are those of the toolchain, which requirements.txt pins by their hash.
replace golang.org/x/mod => ./x-mod
