package packaging_test

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/interop/process"
)

var buildLine = regexp.MustCompile(`(?m)^RUN (.* go build (?:[^\\\n]|\\\n)*)`)

// The image contains only the programs: they must not need anything else, as any user. The line of the Dockerfile that
// builds them is run here, and the result in a folder that is all they can access.
func TestProgramsRunInAnEmptyImageAsAnyUser(t *testing.T) {
	if os.Getuid() != 0 || runtime.GOOS != "linux" {
		if process.Required() {
			t.Fatal("only root may change what a program sees")
		}
		t.Skip("NOT TESTED: only root may change what a program sees")
	}
	docker := content(t, "Dockerfile")
	line := buildLine.FindStringSubmatch(docker)
	if line == nil {
		t.Fatal("the Dockerfile builds nothing")
	}
	if !strings.Contains(docker, "\nFROM scratch") || !strings.Contains(docker, "\nUSER 65534:65534\n") {
		t.Error("the Dockerfile makes no empty image, or one that runs as root")
	}
	if strings.Contains(docker, "DHTPROM_WEB_") {
		t.Error("the Dockerfile tells the client, too, where to serve HTTP")
	}
	root := t.TempDir()
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("sh", "-ec", strings.ReplaceAll(line[1], "/out/", root+"/"))
	build.Dir = process.Top(t)
	build.Env = append(os.Environ(), "VERSION=1.2.3-test")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", line[1], err, out)
	}
	for _, name := range names {
		program, err := elf.Open(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range program.Progs {
			if part.Type == elf.PT_INTERP {
				t.Errorf("%s is not static", name)
			}
		}
		if err := program.Close(); err != nil {
			t.Error(err)
		}
		cmd := exec.Command("/"+name, "--version")
		cmd.Dir, cmd.Env = "/", []string{}
		confine(cmd, root)
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "1.2.3-test") {
			t.Errorf("%s --version: %v\n%s", name, err, out)
		}
	}
	cmd := exec.Command("/dhtprom-scraper", "keygen")
	cmd.Dir, cmd.Env = "/", []string{}
	confine(cmd, root)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "public key:") {
		t.Errorf("keygen: %v\n%s", err, out)
	}
}
