package docs

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

// Step is an action, in the order of a page.
type Step struct {
	Line     int
	Do       string // run, run until, start, stop, setup, background, wait, file, same as
	Name     string // of a started or stopped command
	Argument string // after the colon
	Text     string // of the block
}

// coded are the languages of blocks that need a directive.
var coded = []string{"sh", "yaml", "go"}

var directive = regexp.MustCompile(`^<!-- (run until|run|start|stop|setup|background|wait|file|same as|not run)(?: ([a-z]+))?(?:: (.*))? -->$`)

// alone are directives without a block.
var alone = []string{"stop", "setup", "background", "wait"}

// Read returns the steps of a page.
func Read(path string) ([]Step, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parse(path, string(content))
}

func parse(path, content string) (steps []Step, err error) {
	var pending *Step // a directive that waits for its block
	inside := false
	var language string
	var block strings.Builder
	begin := 0
	for i, line := range strings.Split(content, "\n") {
		at := func(format string, args ...any) error {
			return fmt.Errorf("%s:%d: %s", path, i+1, fmt.Sprintf(format, args...))
		}
		fence, opens := strings.CutPrefix(line, "```")
		switch {
		case inside && opens:
			inside = false
			switch {
			case pending != nil:
				pending.Text = block.String()
				if pending.Do != "not run" {
					steps = append(steps, *pending)
				}
				pending = nil
			case slices.Contains(coded, language):
				return nil, fmt.Errorf("%s:%d: unchecked block of %s: put a directive in front", path, begin, language)
			}
		case inside:
			block.WriteString(line + "\n")
		case opens:
			inside, language, begin = true, fence, i+1
			block.Reset()
		case strings.HasPrefix(line, "<!-- Written by: "): // a note for editors of a generated page
		case line == "<!-- bounds -->" || line == "<!-- end of bounds -->": // a table that the tests of the root package write
		case strings.HasPrefix(line, "<!-- "):
			m := directive.FindStringSubmatch(line)
			if m == nil {
				return nil, at("not a directive: %s", line)
			}
			step := Step{Line: i + 1, Do: m[1], Name: m[2], Argument: m[3]}
			if slices.Contains(alone, step.Do) {
				steps = append(steps, step)
				continue
			}
			if pending != nil {
				return nil, at("the directive before has no block")
			}
			pending = &step
		case pending != nil && strings.TrimSpace(line) != "":
			return nil, at("want a block after the directive")
		}
	}
	if inside || pending != nil {
		return nil, fmt.Errorf("%s: ends inside of a block, or before one", path)
	}
	return steps, nil
}
