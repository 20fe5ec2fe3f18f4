package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// drawing selects mutations by rule.
type drawing struct {
	count int
	seed  uint64
	only  string // substring of their names
	list  string // a file with their names, instead
	own   bool   // by the tests of their packages only
	log   string // a file for the verdicts, and with those of an earlier run of this tree
}

// runDrawn draws mutations by rule, plays them, and writes a table of the results.
func runDrawn(d drawing, out io.Writer) error {
	root, err := top()
	if err != nil {
		return err
	}
	t, err := load(root)
	if err != nil {
		return err
	}
	reasons, err := judged()
	if err != nil {
		return err
	}
	wanted, err := d.wanted()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	tb := &table{places: len(t.all(d.seed)), seed: d.seed, reasons: reasons}
	if err := d.play(t, tb, dir, t.draw(d.seed, d.count, wanted)); err != nil {
		return err
	}
	tb.write(out)
	return tb.verdict(t)
}

// play tries the drawn mutations one after the other.
func (d *drawing) play(t *tree, tb *table, dir string, ms []numbered) error {
	list, err := t.overlay(dir, ms)
	if err != nil {
		return err
	}
	before, err := d.before()
	if err != nil {
		return err
	}
	pl := &player{tree: t, dir: dir, overlay: list, programs: map[string]*program{}}
	for _, m := range ms {
		reason, equivalent := tb.reasons[m.String()]
		v, known := before[m.String()]
		if v.numbered = m; !known {
			if v, err = pl.play(m, d.own || equivalent); err != nil {
				return err
			}
		}
		at := t.fset.Position(m.pos)
		below, _ := filepath.Rel(t.root, at.Filename)
		v.at = fmt.Sprintf("%s:%d", filepath.ToSlash(below), at.Line)
		if v.by == survived && equivalent {
			v.by, v.reason = byReason, reason
		}
		tb.verdicts = append(tb.verdicts, v)
		if err := d.note(fmt.Sprintf("%s\t%s\t%s\t%s", m.place, v.at, v.by, v.reason), known); err != nil {
			return err
		}
	}
	return nil
}

// verdict is the error of a draw that has unexplained survivors or wrong judgements.
func (tb *table) verdict(t *tree) error {
	var all []error
	if n := tb.count(survived); n > 0 {
		all = append(all, fmt.Errorf("%d mutations survived", n))
	}
	for _, v := range tb.verdicts {
		if tb.reasons[v.String()] != "" && v.by != byReason {
			all = append(all, fmt.Errorf("%s is judged equivalent, and noticed by %s", v.place, v.reason))
		}
	}
	for _, name := range slices.Sorted(slices.Values(t.stale(tb.reasons))) {
		all = append(all, fmt.Errorf("%s is judged equivalent, and is not there any more", name))
	}
	return errors.Join(all...)
}

// wanted is the filter of a drawing.
func (d *drawing) wanted() (func(*place) bool, error) {
	if d.list == "" {
		return func(p *place) bool { return strings.Contains(p.String(), d.only) }, nil
	}
	b, err := os.ReadFile(d.list)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		names[strings.TrimSpace(line)] = true
	}
	return func(p *place) bool { return names[p.String()] }, nil
}

// before reads the verdicts of an earlier run. Survivors are played again.
func (d *drawing) before() (map[string]verdict, error) {
	verdicts := map[string]verdict{}
	if d.log == "" {
		return verdicts, nil
	}
	b, err := os.ReadFile(d.log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) == 4 && slices.Contains([]string{byOwn, byImporters, byScenarios}, f[2]) {
			verdicts[f[0]] = verdict{by: f[2], reason: f[3]}
		}
	}
	return verdicts, nil
}

// note reports one verdict.
func (d *drawing) note(line string, known bool) error {
	fmt.Fprintln(os.Stderr, line)
	if d.log == "" || known {
		return nil
	}
	f, err := os.OpenFile(d.log, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, line)
	return errors.Join(err, f.Close())
}
