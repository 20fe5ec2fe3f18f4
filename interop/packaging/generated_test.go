package packaging_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/internal/golden"
	"github.com/dhtprom/dhtprom/interop/process"
)

// same compares a file of the repository with the current output of the programs.
func same(t *testing.T, name, now string) {
	t.Helper()
	golden.File(t, filepath.Join(process.Top(t), name), now)
}

func TestManualPagesAreCurrent(t *testing.T) {
	for _, name := range released {
		page := process.Run(t, process.Command{Path: name, Args: []string{"--help-man"}})
		// The heading carries the version of the build, which is another one each time.
		_, body, found := strings.Cut(page, ".SH \"NAME\"\n"+name+"\n")
		if !found {
			t.Fatalf("%s --help-man printed no page:\n%s", name, page)
		}
		about, _, _ := strings.Cut(body[strings.Index(body, ".SH \"DESCRIPTION\"\n")+len(".SH \"DESCRIPTION\"\n"):], "\n")
		same(t, "packaging/man/"+name+".1", `.\" Made from the program's flags by go test ./interop/packaging -update
.TH `+strings.ToUpper(name)+` 1 "" "dhtprom" "User Commands"
.SH "NAME"
`+name+` \- `+about+`
`+strings.TrimRight(body, "\n")+`
.SH "ENVIRONMENT"
Every flag has a twin in the environment: DHTPROM_ and the flag's name in capitals, with underscores for dots and dashes.
\fB--dht.bootstrap\fR is \fBDHTPROM_DHT_BOOTSTRAP\fR. A flag beats its twin. Values of flags that can be repeated are
separated by lines, and by commas where a value cannot have one: not those of \fB--target\fR and of flags that name files and invites.
.SH "SEE ALSO"
\fBdhtprom-client\fR(1), \fBdhtprom-scraper\fR(1), https://github.com/dhtprom/dhtprom
`)
	}
}

func TestCompletionsAreCurrent(t *testing.T) {
	for _, name := range released {
		bash := process.Run(t, process.Command{Path: name, Args: []string{"--completion-script-bash"}})
		same(t, "packaging/completions/"+name+".bash", strings.TrimSpace(bash)+"\n")
		zsh := process.Run(t, process.Command{Path: name, Args: []string{"--completion-script-zsh"}})
		same(t, "packaging/completions/_"+name, strings.TrimSpace(zsh)+"\n")
	}
}

func TestBashCompletesFlags(t *testing.T) {
	process.Need(t, "bash")
	for _, name := range released {
		complete := exec.Command("bash", "-c", `
			. "$1"
			COMP_WORDS=("$2" --log.l) COMP_CWORD=1
			_"$2"_bash_autocomplete
			echo "${COMPREPLY[@]}"`, "bash", filepath.Join(process.Top(t), "packaging", "completions", name+".bash"), name)
		complete.Env = append(os.Environ(), "PATH="+process.Programs(t)+":"+os.Getenv("PATH"))
		out, err := complete.CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != "--log.level" {
			t.Errorf("%s --log.l is completed to %q (%v)", name, out, err)
		}
	}
}
