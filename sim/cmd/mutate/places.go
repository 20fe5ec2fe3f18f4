package main

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// The rules by which code is mutated.
const (
	ruleFlip  = "flip"  // a comparison is inverted
	ruleBound = "bound" // a comparison of integers takes the limit to the other side, or min and max a constant one more
	ruleGuard = "guard" // the condition of an if that only leaves is never true
	ruleArm   = "arm"   // a timer does nothing when it is due, or a deadline is not set
	ruleStop  = "stop"  // a timer is not stopped, or a deadline stays
	ruleError = "error" // an error is not checked, or is nil where it is returned or passed on
)

// place is a position where a rule applies. It is identified by package, function, rule and ordinal, which do not change
// with edits elsewhere.
type place struct {
	pkg     string
	fn      string // name, with the receiver's type; of a variable where there is no function
	rule    string
	ordinal int // from 1, among those of this rule in the function
	pos     token.Pos
	edits   []edit
}

func (p *place) String() string { return fmt.Sprintf("%s %s %s %d", p.pkg, p.fn, p.rule, p.ordinal) }

// edit replaces a range of a text, or inserts a text at its two ends.
type edit struct {
	from, to      token.Pos
	before, after string
	replace       bool
}

// texts are functions that only produce text for people, or describe limits.
var texts = []string{"String", "GoString", "Error", "LogValue", "Format", "Bounds"}

// places finds all places of a package, in the order of its files and lines.
func (t *tree) places(s *source) []*place {
	var all []*place
	ordinals := map[string]int{}
	for _, f := range s.files {
		if ast.IsGenerated(f) {
			continue
		}
		for _, decl := range f.Decls {
			fn, node := named(decl)
			if node == nil || slices.Contains(texts, fn[strings.LastIndexByte(fn, '.')+1:]) {
				continue
			}
			sc := &scan{tree: t, s: s}
			sc.walk(node)
			for _, p := range sc.found {
				p.pkg, p.fn = s.path, fn
				ordinals[p.fn+" "+p.rule]++
				p.ordinal = ordinals[p.fn+" "+p.rule]
			}
			all = append(all, sc.found...)
		}
	}
	return all
}

// named returns the name of a declaration with code, and that code.
func named(decl ast.Decl) (string, ast.Node) {
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		if decl.Body == nil {
			return "", nil
		}
		if decl.Recv == nil {
			return decl.Name.Name, decl.Body
		}
		typ, star := decl.Recv.List[0].Type, ""
		if ptr, ok := typ.(*ast.StarExpr); ok {
			typ, star = ptr.X, "*"
		}
		if generic, ok := typ.(*ast.IndexExpr); ok {
			typ = generic.X
		}
		if generic, ok := typ.(*ast.IndexListExpr); ok {
			typ = generic.X
		}
		return fmt.Sprintf("(%s%s).%s", star, typ.(*ast.Ident).Name, decl.Name.Name), decl.Body
	case *ast.GenDecl:
		if decl.Tok == token.VAR {
			return decl.Specs[0].(*ast.ValueSpec).Names[0].Name, decl
		}
	}
	return "", nil
}

// scan collects the places of one declaration.
type scan struct {
	tree  *tree
	s     *source
	found []*place
	taken map[ast.Node]bool // conditions that another rule has
}

func (sc *scan) add(rule string, pos token.Pos, edits ...edit) {
	sc.found = append(sc.found, &place{rule: rule, pos: pos, edits: edits})
}

// around wraps a node in two texts. The mark %d in them is the number of the mutation.
func around(n ast.Node, before, after string) edit {
	return edit{from: n.Pos(), to: n.End(), before: before, after: after}
}

func (sc *scan) walk(top ast.Node) {
	sc.taken = map[ast.Node]bool{}
	ast.Inspect(top, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.IfStmt:
			sc.guard(n)
		case *ast.BinaryExpr:
			sc.comparison(n)
		case *ast.CallExpr:
			sc.call(n)
		case *ast.ExprStmt:
			sc.stop(n)
		case *ast.AssignStmt:
			sc.deadline(n)
		case *ast.ReturnStmt:
			sc.returned(n)
		}
		return true
	})
}

// guard finds an if that only leaves.
func (sc *scan) guard(n *ast.IfStmt) {
	if n.Else != nil || len(n.Body.List) == 0 || !leaves(n.Body.List[len(n.Body.List)-1]) {
		return
	}
	never := around(n.Cond, "((", ") && !mutantOn(%d))")
	if b, ok := n.Cond.(*ast.BinaryExpr); ok && b.Op == token.NEQ && sc.isError(b.X) && isNil(b.Y) {
		sc.taken[b] = true
		if last, ok := n.Body.List[len(n.Body.List)-1].(*ast.ReturnStmt); ok {
			sc.taken[last] = true
		}
		sc.add(ruleError, n.Pos(), never)
		return
	}
	sc.add(ruleGuard, n.Pos(), never)
}

// leaves reports whether a statement ends the path through a block.
func leaves(s ast.Stmt) bool {
	switch s := s.(type) {
	case *ast.ReturnStmt:
		return true
	case *ast.BranchStmt:
		return s.Tok == token.CONTINUE || s.Tok == token.BREAK
	}
	return false
}

var comparisons = map[token.Token]string{
	token.EQL: "", token.NEQ: "",
	token.LSS: "mutantLess", token.LEQ: "mutantLessOrEqual", token.GTR: "mutantMore", token.GEQ: "mutantMoreOrEqual",
}

func (sc *scan) comparison(n *ast.BinaryExpr) {
	order, ok := comparisons[n.Op]
	if !ok || sc.taken[n] || sc.value(n) != nil {
		return
	}
	sc.add(ruleFlip, n.Pos(), around(n, "((", ") != mutantOn(%d))"))
	if order != "" && sc.isCount(n.X) && sc.isCount(n.Y) {
		sc.add(ruleBound, n.Pos(), around(n, order+"(%d, ", ")"),
			edit{from: n.OpPos, to: n.OpPos + token.Pos(len(n.Op.String())), before: ",", replace: true})
	}
}

func (sc *scan) call(n *ast.CallExpr) {
	switch fn := n.Fun.(type) {
	case *ast.SelectorExpr:
		if fn.Sel.Name == "AfterFunc" && len(n.Args) == 2 {
			sc.add(ruleArm, n.Pos(), around(n.Args[1], "mutantInert(%d, ", ")"))
		}
	case *ast.Ident:
		_, builtin := sc.s.info.Uses[fn].(*types.Builtin)
		if !builtin || fn.Name != "min" && fn.Name != "max" || sc.value(n) != nil {
			break
		}
		for i, arg := range n.Args {
			if sc.value(arg) != nil && sc.value(arg).Kind() == constant.Int && constant.Sign(sc.value(arg)) != 0 && sc.isCount(n) {
				name := fmt.Sprintf("mutantM%s(%%d, %d, ", fn.Name[1:], i)
				sc.add(ruleBound, n.Pos(), edit{from: fn.Pos(), to: n.Lparen + 1, before: name, replace: true})
			}
		}
	}
	if sc.isCallback(n.Fun) {
		for _, arg := range n.Args {
			if sc.isError(arg) && !isNil(arg) {
				sc.add(ruleError, n.Pos(), around(arg, "mutantError(%d, ", ")"))
			}
		}
	}
}

// isCallback reports whether a called expression is a value: a parameter, a variable or a field.
func (sc *scan) isCallback(fn ast.Expr) bool {
	switch fn := fn.(type) {
	case *ast.Ident:
		_, ok := sc.s.info.Uses[fn].(*types.Var)
		return ok
	case *ast.SelectorExpr:
		sel := sc.s.info.Selections[fn]
		return sel != nil && sel.Kind() == types.FieldVal
	}
	return false
}

func (sc *scan) stop(n *ast.ExprStmt) {
	call, ok := n.X.(*ast.CallExpr)
	if !ok || len(call.Args) > 0 {
		return
	}
	if fn, ok := call.Fun.(*ast.SelectorExpr); ok && fn.Sel.Name == "Stop" {
		sc.add(ruleStop, n.Pos(), around(n, "if !mutantOn(%d) { ", " }"))
	}
}

// deadline finds a field that is set to a later instant, or to a constant one that means no deadline.
func (sc *scan) deadline(n *ast.AssignStmt) {
	if n.Tok != token.ASSIGN || len(n.Lhs) != 1 || len(n.Rhs) != 1 {
		return
	}
	field, ok := n.Lhs[0].(*ast.SelectorExpr)
	if !ok || sc.typeName(field) != "Instant" {
		return
	}
	rule := ruleStop
	if call, ok := n.Rhs[0].(*ast.CallExpr); ok {
		fn, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || fn.Sel.Name != "Add" {
			return
		}
		rule = ruleArm
	} else if sc.value(n.Rhs[0]) == nil {
		return
	}
	sc.add(rule, n.Pos(), around(n.Rhs[0], "mutantKeep(%d, "+sc.text(field)+", ", ")"))
}

// returned finds an error that a function returns.
func (sc *scan) returned(n *ast.ReturnStmt) {
	if len(n.Results) == 0 || sc.taken[n] {
		return
	}
	if last := n.Results[len(n.Results)-1]; sc.isError(last) && !isNil(last) {
		sc.add(ruleError, n.Pos(), around(last, "mutantError(%d, ", ")"))
	}
}

func (sc *scan) text(n ast.Node) string {
	from, to := sc.tree.fset.Position(n.Pos()), sc.tree.fset.Position(n.End())
	return string(sc.tree.text[from.Filename][from.Offset:to.Offset])
}

// value returns the value of a constant expression, nil for others.
func (sc *scan) value(e ast.Expr) constant.Value { return sc.s.info.Types[e].Value }

func (sc *scan) isError(e ast.Expr) bool {
	typ := sc.s.info.Types[e].Type
	return typ != nil && types.Identical(typ, types.Universe.Lookup("error").Type())
}

func isNil(e ast.Expr) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == "nil"
}

// isCount reports whether an expression is an integer that counts something. One nanosecond more or less is not a realistic
// mistake.
func (sc *scan) isCount(e ast.Expr) bool {
	typ := sc.s.info.Types[e].Type
	if typ == nil || slices.Contains([]string{"Duration", "Instant"}, sc.typeName(e)) {
		return false
	}
	basic, ok := typ.Underlying().(*types.Basic)
	return ok && basic.Info()&types.IsInteger != 0
}

// typeName returns the name of an expression's type without its package, or "".
func (sc *scan) typeName(e ast.Expr) string {
	if n, ok := sc.s.info.Types[e].Type.(*types.Named); ok {
		return n.Obj().Name()
	}
	return ""
}
