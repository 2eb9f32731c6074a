// Check judges a ledger with the notes, hashes and proofs of the Go project's checksum database
// (golang.org/x/mod/sumdb), and with nothing of ours. Written from docs/format.md and C2SP.
//
//	check log URL VKEY [OLDER...]     every entry, hash and tile; proofs; and that OLDER, files
//	                                  with older checkpoints, are beginnings of it
//	check proofs URL VKEY [OLDER...]  the proofs that the ledger's own API makes
//	check receipt FILE VKEY           a receipt, offline
//
// It prints a line and exits with 0 when all is sound, else with 1, and with 2 on wrong usage.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	height = 8
	width  = 1 << height
)

func main() {
	report, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "check:", err)
		if errors.Is(err, errUsage) {
			os.Exit(2)
		}
		os.Exit(1)
	}
	fmt.Println(report)
}

var errUsage = errors.New("usage: check log URL VKEY [OLDER...] | proofs URL VKEY [OLDER...] | receipt FILE VKEY")

func run(args []string) (string, error) {
	if len(args) < 3 {
		return "", errUsage
	}
	key, err := note.NewVerifier(args[2])
	if err != nil {
		return "", fmt.Errorf("the vkey: %w", err)
	}
	switch {
	case args[0] == "log":
		return checkLog(server(args[1]), key, args[3:])
	case args[0] == "proofs":
		return checkProofs(server(args[1]), key, args[3:])
	case args[0] == "receipt" && len(args) == 3:
		return checkReceipt(args[1], key)
	}
	return "", errUsage
}

// openCheckpoint checks the signature of a checkpoint, and returns the tree that it signs.
func openCheckpoint(text []byte, key note.Verifier) (tlog.Tree, error) {
	opened, err := note.Open(text, note.VerifierList(key))
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("the checkpoint: %w", err)
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != key.Name() || lines[3] != "" {
		return tlog.Tree{}, fmt.Errorf("the checkpoint is not three lines of %s", key.Name())
	}
	size, err := decimal(lines[1])
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

func openFile(path string, key note.Verifier) (tlog.Tree, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return tlog.Tree{}, err
	}
	return openCheckpoint(text, key)
}

func decimal(text string) (int64, error) {
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil || number < 0 || strconv.FormatInt(number, 10) != text {
		return 0, fmt.Errorf("%q is not a number", text)
	}
	return number, nil
}

// server is where a log is read from: its address.
type server string

func (s server) get(path string) ([]byte, error) {
	response, err := http.Get(strings.TrimSuffix(string(s), "/") + "/" + path)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", path, response.Status)
	}
	return io.ReadAll(response.Body)
}

func (s server) checkpoint(key note.Verifier) (tlog.Tree, error) {
	text, err := s.get("checkpoint")
	if err != nil {
		return tlog.Tree{}, err
	}
	return openCheckpoint(text, key)
}

// Height, ReadTiles and SaveTiles make a tlog.TileReader of a server. That of the checksum
// database has the height in its paths; tlog-tiles leaves it out.
func (s server) Height() int { return height }

func (s server) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for i, tile := range tiles {
		var err error
		if data[i], err = s.get(strings.Replace(tile.Path(), "tile/8/", "tile/", 1)); err != nil {
			return nil, err
		}
	}
	return data, nil
}

func (s server) SaveTiles([]tlog.Tile, [][]byte) {}

// entries reads the bundles of a log of this size, each with its length before it.
func (s server) entries(size int64) ([][]byte, error) {
	var entries [][]byte
	for start := int64(0); start < size; start += width {
		count := min(size-start, width)
		tile := tlog.Tile{H: height, L: -1, N: start / width, W: int(count)}
		bundle, err := s.get(strings.Replace(tile.Path(), "tile/8/data/", "tile/entries/", 1))
		if err != nil {
			return nil, err
		}
		for i := int64(0); i < count; i++ {
			if len(bundle) < 2 {
				return nil, fmt.Errorf("%s ends early", tile.Path())
			}
			end := 2 + int(binary.BigEndian.Uint16(bundle))
			if len(bundle) < end {
				return nil, fmt.Errorf("%s ends within an entry", tile.Path())
			}
			entries, bundle = append(entries, bundle[2:end]), bundle[end:]
		}
		if len(bundle) > 0 {
			return nil, fmt.Errorf("%s has more than its entries", tile.Path())
		}
	}
	return entries, nil
}

// place checks that an entry names its own index, and returns what it names as the hash before.
func place(entry []byte, index int64) (string, error) {
	var named struct {
		Index int64  `json:"index"`
		Prev  string `json:"prev"`
	}
	if err := json.Unmarshal(entry, &named); err != nil {
		return "", fmt.Errorf("entry %d: %w", index, err)
	}
	if named.Index != index {
		return "", fmt.Errorf("entry %d says that it is entry %d", index, named.Index)
	}
	return named.Prev, nil
}

// hashAll follows the chain through all entries and returns the hashes of their tree, in the
// order of tlog.StoredHashIndex.
func hashAll(entries [][]byte) ([]tlog.Hash, error) {
	var stored []tlog.Hash
	var before tlog.Hash // of the first entry: zeros
	for i, entry := range entries {
		prev, err := place(entry, int64(i))
		if err != nil {
			return nil, err
		}
		if prev != hex.EncodeToString(before[:]) {
			return nil, fmt.Errorf("entry %d does not name the hash of the one before", i)
		}
		before = tlog.RecordHash(entry)
		hashes, err := tlog.StoredHashes(int64(i), entry, inMemory(stored))
		if err != nil {
			return nil, err
		}
		stored = append(stored, hashes...)
	}
	return stored, nil
}

func inMemory(stored []tlog.Hash) tlog.HashReaderFunc {
	return func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			hashes[i] = stored[index]
		}
		return hashes, nil
	}
}

func checkLog(log server, key note.Verifier, older []string) (string, error) {
	tree, err := log.checkpoint(key)
	if err != nil {
		return "", err
	}
	entries, err := log.entries(tree.N)
	if err != nil {
		return "", err
	}
	ours, err := hashAll(entries)
	if err != nil {
		return "", err
	}
	root, err := tlog.TreeHash(tree.N, inMemory(ours))
	if err != nil {
		return "", err
	}
	if root != tree.Hash {
		return "", fmt.Errorf("the entries have the root %v, and the checkpoint %v", root, tree.Hash)
	}
	if err := checkTiles(log, tree.N, inMemory(ours)); err != nil {
		return "", err
	}
	theirs := tlog.TileHashReader(tree, log)
	for _, index := range []int64{0, tree.N / 3, tree.N / 2, tree.N - 1} {
		proof, err := tlog.ProveRecord(tree.N, index, theirs)
		if err != nil {
			return "", fmt.Errorf("entry %d: %w", index, err)
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entries[index])); err != nil {
			return "", fmt.Errorf("entry %d: %w", index, err)
		}
	}
	for _, path := range older {
		if err := checkOlder(path, key, tree, theirs); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("SOUND %d %v", tree.N, tree.Hash), nil
}

// checkTiles compares every tile of a tree of this size with the hashes of its entries.
func checkTiles(log server, size int64, ours tlog.HashReader) error {
	for _, tile := range tlog.NewTiles(height, 0, size) {
		want, err := tlog.ReadTileData(tile, ours)
		if err != nil {
			return err
		}
		got, err := log.ReadTiles([]tlog.Tile{tile})
		if err != nil {
			return err
		}
		if !bytes.Equal(got[0], want) {
			return fmt.Errorf("%s does not hold the hashes of its entries", tile.Path())
		}
	}
	return nil
}

// checkOlder checks that the tree of the checkpoint in a file is a beginning of this one.
func checkOlder(path string, key note.Verifier, tree tlog.Tree, hashes tlog.HashReader) error {
	old, err := openFile(path, key)
	if err != nil {
		return err
	}
	if old.N > tree.N {
		return fmt.Errorf("the log had %d entries and has %d", old.N, tree.N)
	}
	proof, err := tlog.ProveTree(tree.N, old.N, hashes)
	if err != nil {
		return fmt.Errorf("from %d to %d: %w", old.N, tree.N, err)
	}
	if err := tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash); err != nil {
		return fmt.Errorf("from %d to %d: %w", old.N, tree.N, err)
	}
	return nil
}

func checkProofs(log server, key note.Verifier, older []string) (string, error) {
	tree, err := log.checkpoint(key)
	if err != nil {
		return "", err
	}
	for _, path := range older {
		old, err := openFile(path, key)
		if err != nil {
			return "", err
		}
		proof, err := log.proof(fmt.Sprintf("v1/proofs/consistency?from=%d&to=%d", old.N, tree.N))
		if err != nil {
			return "", err
		}
		if err := tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash); err != nil {
			return "", fmt.Errorf("from %d to %d: %w", old.N, tree.N, err)
		}
	}
	entries, err := log.entries(tree.N)
	if err != nil {
		return "", err
	}
	for index, entry := range entries {
		proof, err := log.proof(fmt.Sprintf("v1/proofs/inclusion?index=%d&size=%d", index, tree.N))
		if err != nil {
			return "", err
		}
		if err := tlog.CheckRecord(tlog.RecordProof(proof), tree.N, tree.Hash, int64(index), tlog.RecordHash(entry)); err != nil {
			return "", fmt.Errorf("entry %d: %w", index, err)
		}
	}
	return fmt.Sprintf("SOUND %d %v", tree.N, tree.Hash), nil
}

// proof asks the API for a proof, whose hashes it spells in hex.
func (s server) proof(path string) (tlog.TreeProof, error) {
	text, err := s.get(path)
	if err != nil {
		return nil, err
	}
	var answer struct{ Proof []string }
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	proof := make(tlog.TreeProof, len(answer.Proof))
	for i, spelled := range answer.Proof {
		hash, err := hex.DecodeString(spelled)
		if err != nil || len(hash) != tlog.HashSize {
			return nil, fmt.Errorf("%s: %q is no hash", path, spelled)
		}
		copy(proof[i][:], hash)
	}
	return proof, nil
}

func checkReceipt(path string, key note.Verifier) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	head, checkpoint, _ := strings.Cut(string(text), "\n\n")
	lines := strings.Split(head, "\n")
	if len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return "", errors.New("this is no tlog-proof of an entry")
	}
	extra, isExtra := strings.CutPrefix(lines[1], "extra ")
	spelled, isIndex := strings.CutPrefix(lines[2], "index ")
	if !isExtra || !isIndex {
		return "", errors.New("the receipt has no entry, or no index")
	}
	entry, err := base64.StdEncoding.Strict().DecodeString(extra)
	if err != nil {
		return "", fmt.Errorf("the entry: %w", err)
	}
	index, err := decimal(spelled)
	if err != nil {
		return "", err
	}
	var proof tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return "", err
		}
		proof = append(proof, hash)
	}
	tree, err := openCheckpoint([]byte(checkpoint), key)
	if err != nil {
		return "", err
	}
	if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry)); err != nil {
		return "", fmt.Errorf("entry %d: %w", index, err)
	}
	if _, err := place(entry, index); err != nil {
		return "", err
	}
	return fmt.Sprintf("SOUND entry %d of %d", index, tree.N), nil
}
