package config

import (
	_ "embed"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Setting describes one field of Config.
type Setting struct {
	Group   string // name of the field of Config it is in: "Proxy"
	Name    string // "PROXY_METADATA_TTL"
	Default string // as written in the tag
	Kind    string // what a value is: "text", "switch", "number", "duration", "size", "list", "secret"
	OneOf   []string
	Min     string
	Max     string
	Doc     string // the field's comment as one paragraph

	index []int
}

// Flag is the setting's name on the command line, without the dashes.
func (s Setting) Flag() string { return strings.ReplaceAll(strings.ToLower(s.Name), "_", "-") }

// key is the setting's name in the file.
func (s Setting) key() string { return strings.ToLower(s.Name) }

// Summary is the first sentence of Doc.
func (s Setting) Summary() string {
	if i := strings.Index(s.Doc, ". "); i >= 0 {
		return s.Doc[:i+1]
	}
	return s.Doc
}

// Allowed says in words what a value may be.
func (s Setting) Allowed() string {
	what := map[string]string{
		"text": "text", "secret": "text", "switch": "true or false", "number": "a number",
		"duration": "a duration", "size": "a size", "list": "a comma-separated list",
	}[s.Kind]
	switch {
	case s.OneOf != nil:
		last := len(s.OneOf) - 1
		return strings.Join(s.OneOf[:last], ", ") + " or " + s.OneOf[last]
	case s.Max != "":
		return fmt.Sprintf("%s from %s to %s", what, s.Min, s.Max)
	case s.Min != "" && s.Min != "0":
		return fmt.Sprintf("%s, at least %s", what, s.Min)
	}
	return what
}

// Settings lists every setting in the order of Config.
func Settings() []Setting { return settings() }

var settings = sync.OnceValue(func() []Setting {
	docs := fieldDocs()
	var all []Setting
	for group := range reflect.TypeFor[Config]().Fields() {
		for field := range group.Type.Fields() {
			s := Setting{
				Group:   group.Name,
				Name:    field.Tag.Get("setting"),
				Default: field.Tag.Get("default"),
				Kind:    kindOf(field.Type),
				Min:     field.Tag.Get("min"),
				Max:     field.Tag.Get("max"),
				Doc:     docs[group.Type.Name()+"."+field.Name],
				index:   []int{group.Index[0], field.Index[0]},
			}
			if names := field.Tag.Get("oneof"); names != "" {
				s.OneOf = strings.Split(names, "|")
			}
			all = append(all, s)
		}
	}
	return all
})

// GroupDoc is the comment of a group's type, without the name it starts with: "how Stasis is reached."
func GroupDoc(group string) string {
	return strings.TrimPrefix(fieldDocs()[group], group+" is ")
}

// source is config.go itself: its comments are the manual, so the program carries them.
//
//go:embed config.go
var source string

// fieldDocs returns the comments of the types of config.go by "Type" and of their fields by "Type.Field".
var fieldDocs = sync.OnceValue(func() map[string]string {
	docs := make(map[string]string)
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", source, parser.ParseComments)
	if err != nil {
		panic(err) // the compiler has parsed the same text
	}
	oneParagraph := func(c *ast.CommentGroup) string { return strings.Join(strings.Fields(c.Text()), " ") }
	for _, decl := range file.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.TYPE {
			continue
		}
		for _, spec := range gen.Specs {
			typ := spec.(*ast.TypeSpec)
			docs[typ.Name.Name] = oneParagraph(gen.Doc)
			for _, field := range typ.Type.(*ast.StructType).Fields.List {
				docs[typ.Name.Name+"."+field.Names[0].Name] = oneParagraph(field.Doc)
			}
		}
	}
	return docs
})

func kindOf(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[string]():
		return "text"
	case reflect.TypeFor[bool]():
		return "switch"
	case reflect.TypeFor[int]():
		return "number"
	case reflect.TypeFor[time.Duration]():
		return "duration"
	case reflect.TypeFor[Size]():
		return "size"
	case reflect.TypeFor[[]string](), reflect.TypeFor[[]netip.Prefix]():
		return "list"
	case reflect.TypeFor[Secret]():
		return "secret"
	}
	panic("config: no way to read a " + t.String())
}

// field is the setting's place in c.
func (s Setting) field(c *Config) reflect.Value {
	return reflect.ValueOf(c).Elem().FieldByIndex(s.index)
}

// parse reads a value and puts it into its place in c. The error says what is allowed.
func (s Setting) parse(c *Config, text string) error {
	var value any
	var err error
	switch s.field(c).Interface().(type) {
	case string:
		if s.OneOf != nil {
			text = strings.ToLower(text)
		}
		value, err = text, oneOf(text, s.OneOf)
	case bool:
		value, err = parseSwitch(text)
	case int:
		value, err = parseBetween(s, text, parseNumber)
	case time.Duration:
		value, err = parseBetween(s, text, ParseDuration)
	case Size:
		value, err = parseBetween(s, text, ParseSize)
	case []string:
		value = parseList(text)
	case []netip.Prefix:
		value, err = parsePrefixes(text)
	case Secret:
		value = NewSecret(text)
	}
	if err == nil {
		s.field(c).Set(reflect.ValueOf(value))
	}
	return err
}

// format is the inverse of parse, except that a secret is hidden.
func (s Setting) format(c *Config) string {
	switch v := s.field(c).Interface().(type) {
	case time.Duration:
		return FormatDuration(v)
	case []string:
		return strings.Join(v, ",")
	case []netip.Prefix:
		texts := make([]string, len(v))
		for i, p := range v {
			texts[i] = p.String()
		}
		return strings.Join(texts, ",")
	default:
		return fmt.Sprint(v)
	}
}

func oneOf(text string, names []string) error {
	if names == nil {
		return nil
	}
	if slices.Contains(names, text) {
		return nil
	}
	return fmt.Errorf("must be %s", Setting{OneOf: names}.Allowed())
}

func parseSwitch(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "true", "1", "yes", "on":
		return true, nil
	case "false", "0", "no", "off":
		return false, nil
	}
	return false, fmt.Errorf("must be true or false")
}

func parseNumber(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("must be a whole number")
	}
	return n, nil
}

func parseBetween[T int | time.Duration | Size](s Setting, text string, parse func(string) (T, error)) (T, error) {
	n, err := parse(text)
	if err != nil {
		return 0, err
	}
	if least, err := parse(s.Min); err == nil && n < least {
		return 0, fmt.Errorf("must be %s", s.Allowed())
	}
	if most, err := parse(s.Max); err == nil && n > most {
		return 0, fmt.Errorf("must be %s", s.Allowed())
	}
	return n, nil
}

func parseList(text string) []string {
	var list []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

func parsePrefixes(text string) ([]netip.Prefix, error) {
	var list []netip.Prefix
	for _, part := range parseList(text) {
		prefix, err := netip.ParsePrefix(part)
		if addr, addrErr := netip.ParseAddr(part); addrErr == nil {
			prefix, err = netip.PrefixFrom(addr.WithZone(""), addr.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("must be a comma-separated list of addresses and CIDR ranges such as 10.0.0.0/8, which %q is not", part)
		}
		list = append(list, prefix.Masked())
	}
	return list, nil
}
