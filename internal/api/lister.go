package api

import (
	"fmt"
	"go/types"
	"strings"
)

// lister lists the names of one package.
type lister struct {
	pkg    *types.Package
	name   string
	lines  []string
	faults []string // names that lead to types that cannot be looked up
}

func (l *lister) add(format string, args ...any) {
	l.lines = append(l.lines, "pkg "+l.name+", "+fmt.Sprintf(format, args...))
}

// qualify names packages as an importer of the package would read them.
func (l *lister) qualify(p *types.Package) string {
	if p == l.pkg {
		return ""
	}
	return below(p.Path())
}

// text formats a type; at is the name that leads to it.
func (l *lister) text(at string, t types.Type) string {
	l.inspect(at, t)
	return types.TypeString(t, l.qualify)
}

// signature formats a function's parameters and results.
func (l *lister) signature(at string, t types.Type) string {
	return strings.TrimPrefix(l.text(at, t), "func")
}

func (l *lister) object(o types.Object) {
	switch o := o.(type) {
	case *types.Const:
		l.add("const %s %s = %s", o.Name(), l.text(o.Name(), o.Type()), o.Val())
	case *types.Var:
		l.add("var %s %s", o.Name(), l.text(o.Name(), o.Type()))
	case *types.Func:
		l.add("func %s%s", o.Name(), l.signature(o.Name(), o.Type()))
	case *types.TypeName:
		l.typeName(o)
	}
}

func (l *lister) typeName(o *types.TypeName) {
	if a, ok := o.Type().(*types.Alias); ok {
		l.add("type %s = %s", o.Name(), l.text(o.Name(), a.Rhs()))
		if _, named := types.Unalias(a).(*types.Named); named {
			return // listed where it is declared
		}
	}
	t := types.Unalias(o.Type())
	s, isStruct := t.Underlying().(*types.Struct)
	switch {
	case isStruct:
		l.add("type %s struct", o.Name())
		l.fields(o.Name(), s)
	case !o.IsAlias():
		l.add("type %s %s", o.Name(), l.text(o.Name(), t.Underlying()))
	}
	if types.IsInterface(t) {
		return // its methods are in the type's text
	}
	methods := types.NewMethodSet(types.NewPointer(t))
	for i := range methods.Len() {
		if m := methods.At(i).Obj(); m.Exported() {
			l.method(o.Name(), m)
		}
	}
}

// fields lists the exported fields of a struct, those of structs that it embeds included.
func (l *lister) fields(name string, s *types.Struct) {
	for f := range s.Fields() {
		if f.Exported() {
			l.add("type %s struct, %s %s", name, f.Name(), l.text(name+"."+f.Name(), f.Type()))
			continue
		}
		embedded := f.Type()
		if p, ok := embedded.(*types.Pointer); ok {
			embedded = p.Elem()
		}
		if s, ok := embedded.Underlying().(*types.Struct); ok && f.Embedded() {
			l.fields(name, s)
		}
	}
}

func (l *lister) method(name string, m types.Object) {
	signature := m.Type().(*types.Signature)
	receiver := "*" + name
	if _, pointer := signature.Recv().Type().(*types.Pointer); !pointer {
		receiver = name
	}
	l.add("method (%s) %s%s", receiver, m.Name(), l.signature(name+"."+m.Name(), signature))
}

// inspect searches t for types that cannot be looked up. Named types are inspected where they are declared.
func (l *lister) inspect(at string, t types.Type) {
	switch t := t.(type) {
	case *types.Alias:
		l.declared(at, t.Obj())
	case *types.Named:
		l.declared(at, t.Obj())
		for arg := range t.TypeArgs().Types() {
			l.inspect(at, arg)
		}
	case interface{ Elem() types.Type }: // pointers, slices, arrays, channels, maps
		l.inspect(at, t.Elem())
		if m, ok := t.(*types.Map); ok {
			l.inspect(at, m.Key())
		}
	case *types.Struct:
		for f := range t.Fields() {
			if f.Exported() {
				l.inspect(at+"."+f.Name(), f.Type())
			}
		}
	case *types.Interface:
		for m := range t.ExplicitMethods() {
			l.inspect(at+"."+m.Name(), m.Type())
		}
		for e := range t.EmbeddedTypes() {
			l.inspect(at, e)
		}
	case *types.Signature:
		for v := range t.Params().Variables() {
			l.inspect(at, v.Type())
		}
		for v := range t.Results().Variables() {
			l.inspect(at, v.Type())
		}
	}
}

// declared checks the name of a type.
func (l *lister) declared(at string, o *types.TypeName) {
	switch {
	case o.Pkg() == nil: // error, any
	case isInternal(o.Pkg().Path()):
		l.faults = append(l.faults, fmt.Sprintf("%s leads to %s.%s, which is internal", at, below(o.Pkg().Path()), o.Name()))
	case !o.Exported():
		l.faults = append(l.faults, fmt.Sprintf("%s leads to %s, which go doc does not show", at, o.Name()))
	}
}
