package keyfile_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/cost"
	"github.com/dhtprom/dhtprom/keyfile"
)

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

var hexText = strings.Repeat("ab", 32)

func TestFilesAreReadInBothForms(t *testing.T) {
	made := keyfile.NewSecret()
	for name, content := range map[string]string{
		"z32": made.RevealText(), "with line end": made.RevealText() + "\r\n", "commented": "# mine\n\n  " + made.RevealText() + "  \n# end",
	} {
		got, err := keyfile.Secrets(file(t, content))
		if err != nil || len(got) != 1 || !got[0].Equal(made) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := keyfile.Secrets(file(t, hexText+"\n"+made.RevealText()+"\n")); err != nil || len(got) != 2 || !got[1].Equal(made) {
		t.Errorf("two secrets: %d, %v", len(got), err)
	}
	if s, err := keyfile.Seed(file(t, hexText)); err != nil || s.IsZero() {
		t.Errorf("hex seed: %v", err)
	}
	// The last is how an environment file from Windows ends.
	for _, text := range []string{hexText + ", " + made.RevealText(), hexText + "\r\n" + made.RevealText() + "\r"} {
		if got, err := keyfile.ParseSecrets("X", text); err != nil || len(got) != 2 {
			t.Errorf("from the environment: %d, %v", len(got), err)
		}
	}
}

// utf16File is text as Windows writes it: a byte order mark, then 16 bits a character.
func utf16File(order binary.ByteOrder, text string) string {
	b := make([]byte, 0, 2+2*len(text))
	for _, unit := range append([]uint16{0xFEFF}, utf16.Encode([]rune(text))...) {
		b = append(b, 0, 0)
		order.PutUint16(b[len(b)-2:], unit)
	}
	return string(b)
}

// PowerShell's > writes UTF-16, Notepad a byte order mark.
func TestFilesFromWindowsAreRead(t *testing.T) {
	made := keyfile.NewSecret()
	text := "# Schlüssel\r\n" + made.RevealText() + "\r\n"
	for name, content := range map[string]string{
		"UTF-8 with a mark": "\uFEFF" + text, "little endian": utf16File(binary.LittleEndian, text), "big endian": utf16File(binary.BigEndian, text),
	} {
		if got, err := keyfile.Secrets(file(t, content)); err != nil || len(got) != 1 || !got[0].Equal(made) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := keyfile.Seed(file(t, content)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, content := range map[string]string{
		"no mark": utf16File(binary.LittleEndian, text)[2:], "half a character": utf16File(binary.LittleEndian, text) + "x",
	} {
		if _, err := keyfile.Secrets(file(t, content)); err == nil || !strings.Contains(err.Error(), "save it as UTF-8") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMalformedFilesGetOneLineThatNamesThemAndQuotesNothing(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "comments only": "# x\n", "word": "hunter2", "short": hexText[:63], "long": hexText + "a", "second line": hexText + "\nhunter2\n",
		"zeros": strings.Repeat("0", 64), "binary": "\x00\xff\xfe", "two on a line": hexText + " " + hexText, "huge": strings.Repeat("hunter2\n", 20000),
	} {
		path := file(t, content)
		_, secretErr := keyfile.Secrets(path)
		_, seedErr := keyfile.Seed(path)
		for _, err := range []error{secretErr, seedErr} {
			if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "64 hex digits") ||
				strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "hunter") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	missing := filepath.Join(t.TempDir(), "missing")
	if _, err := keyfile.Secrets(missing); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("missing: %v", err)
	}
	folder := t.TempDir()
	if _, err := keyfile.Seed(folder); err == nil || !strings.Contains(err.Error(), folder+" is a directory: want 32 bytes") {
		t.Errorf("a folder as a seed: %v", err)
	}
	// chmod 600 makes a folder useless, and /dev/null too.
	if err := os.Chmod(folder, 0o755); err != nil || keyfile.Exposed(folder) || keyfile.Exposed(os.DevNull) {
		t.Errorf("what is no file is called exposed: %v", err)
	}
	if _, err := keyfile.ParseSeed("DHTPROM_X", "hunter2"); err == nil || !strings.Contains(err.Error(), "DHTPROM_X") || strings.Contains(err.Error(), "hunter") {
		t.Errorf("environment: %v", err)
	}
}

func TestMadeFilesAreTheirOwnersAloneAndAreNeverReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "secret")
	made := keyfile.NewSecret()
	if err := keyfile.Write(path, "comment", made.RevealText()); err != nil {
		t.Fatal(err)
	}
	if keyfile.Exposed(path) {
		t.Error("others can read it")
	}
	if err := keyfile.Write(path, "comment", keyfile.NewSecret().RevealText()); !os.IsExist(unwrap(err)) {
		t.Errorf("the second write: %v", err)
	}
	got, err := keyfile.Secrets(path)
	if err != nil || !got[0].Equal(made) {
		t.Errorf("read back: %v", err)
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
	if err := os.Chmod(path, 0o640); err != nil || !keyfile.Exposed(path) {
		t.Errorf("a file that its group may read does not count as exposed: %v", err)
	}
}

// A service has the same identity at each start.
func TestOwnFilesAreMadeOnce(t *testing.T) {
	dir := t.TempDir()
	var first domain.Seed
	for i := range 2 {
		seed, made, err := keyfile.OwnSeed(filepath.Join(dir, "shop", "seed"), "The identity of shop.")
		if err != nil || made != (i == 0) {
			t.Fatalf("start %d: made %v, %v", i, made, err)
		}
		if i > 0 && domain.KeyPairFromSeed(seed).Public != domain.KeyPairFromSeed(first).Public {
			t.Error("the second start has another identity")
		}
		first = seed
		secrets, made, err := keyfile.OwnSecrets(filepath.Join(dir, "secret"), "The secret of shop.")
		if err != nil || made != (i == 0) || len(secrets) != 1 {
			t.Errorf("start %d: %d secrets, made %v, %v", i, len(secrets), made, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "damaged"), []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, made, err := keyfile.OwnSeed(filepath.Join(dir, "damaged"), "")
	if err == nil || made || strings.Contains(err.Error(), "hunter") {
		t.Errorf("a damaged file: made %v, %v", made, err)
	}
}

func unwrap(err error) error {
	if w, ok := err.(interface{ Unwrap() error }); ok {
		return w.Unwrap()
	}
	return err
}

func FuzzParseSecrets(f *testing.F) {
	f.Add(hexText + ", " + hexText)
	f.Add(strings.Repeat("y", 52))
	f.Fuzz(func(t *testing.T, text string) {
		var all []domain.Secret
		var err error
		cost.Parsing.Check(t, len(text), func() { all, err = keyfile.ParseSecrets("X", text) })
		if (err == nil) != (len(all) > 0) {
			t.Errorf("%q is read as %d secrets, %v", text, len(all), err)
		}
		var seed domain.Seed
		cost.Parsing.Check(t, len(text), func() { seed, err = keyfile.ParseSeed("X", text) })
		if err == nil && seed.IsZero() {
			t.Errorf("%q is read as no seed", text)
		}
	})
}

func TestCommentsMayHaveSeveralLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seed")
	made, _, err := keyfile.OwnSeed(path, "The identity of shop.\nKeep it secret.\r\n\nSee the manual.\n")
	if err != nil {
		t.Fatal(err)
	}
	if again, _, err := keyfile.OwnSeed(path, ""); err != nil || again.RevealText() != made.RevealText() {
		t.Errorf("it is read as another one: %v", err)
	}
}
