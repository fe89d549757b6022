package composer

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// LinkTypes are the keys under which a package says how it relates to others.
var LinkTypes = [...]string{"require", "require-dev", "conflict", "provide", "replace"}

// CheckManifest says what in a composer.json, or in one version of a metadata document, would end the run of a client
// that reads it, or reach outside of the package's own folder. The error holds all such problems, a sentence each, joined
// as by errors.Join. Composer's own check criticises more; what its clients survive is let through, for it is published
// elsewhere too. A version may be missing.
func CheckManifest(o Object) error {
	if !utf8.Valid(o.append(nil)) {
		return errors.New("it holds text that is not UTF-8")
	}
	c := manifestCheck{o: o}
	c.name()
	c.version()
	for _, key := range [...]string{"type", "time", "target-dir", "notification-url"} {
		c.text(key)
	}
	for _, key := range [...]string{"autoload", "autoload-dev", "include-path", "php-ext", "transport-options"} {
		c.container(key)
	}
	for _, key := range LinkTypes {
		c.links(key)
	}
	c.binaries()
	c.suggestions()
	c.keywords()
	return errors.Join(c.problems...)
}

type manifestCheck struct {
	o        Object
	problems []error
}

func (c *manifestCheck) wrong(format string, args ...any) {
	const enough = 20
	if len(c.problems) < enough {
		c.problems = append(c.problems, fmt.Errorf(format, args...))
	}
}

// get returns nil for a value that PHP takes for absent.
func (c *manifestCheck) get(key string) json.RawMessage {
	if v := c.o.Get(key); string(v) != "null" {
		return v
	}
	return nil
}

func (c *manifestCheck) name() {
	name, ok := textOf(c.get("name"))
	if !ok {
		c.wrong("it has no name")
		return
	}
	if _, err := ParseName(name); err != nil {
		c.wrong("%w", err)
	}
}

func (c *manifestCheck) version() {
	v := c.get("version")
	if v == nil {
		return
	}
	version, ok := textOf(v)
	if !ok {
		c.wrong("its version is not a text")
		return
	}
	if _, err := NormalizeVersion(version); err != nil {
		c.wrong("its version is wrong: %w", err)
	}
}

func (c *manifestCheck) text(key string) {
	if v := c.get(key); v != nil && v[0] != '"' {
		c.wrong("its %q is not a text", key)
	}
}

func (c *manifestCheck) container(key string) {
	if v := c.get(key); v != nil && v[0] != '{' && v[0] != '[' {
		c.wrong("its %q is neither an object nor a list", key)
	}
}

// linkName is what Composer lets stand where a package name belongs, platform packages and old names included.
var linkName = regexp.MustCompile(`^[A-Za-z0-9_./-]+$`)

func (c *manifestCheck) links(key string) {
	v := c.get(key)
	if v == nil {
		return
	}
	var links Object
	if err := links.UnmarshalJSON(v); err != nil {
		c.wrong("its %q is not an object of package names and version constraints", key)
		return
	}
	for _, link := range links {
		constraint, ok := textOf(link.Value)
		switch {
		case !linkName.MatchString(link.Key):
			c.wrong("its %q names %.80q, which is no package name", key, link.Key)
		case !ok:
			c.wrong("its %q gives %s no version constraint", key, link.Key)
		case constraint != "self.version":
			if _, err := ParseConstraint(constraint); err != nil {
				c.wrong("its %q gives %s a constraint that cannot be read: %w", key, link.Key, err)
			}
		}
	}
}

// binaries refuses files that Composer would make executable outside of the package.
func (c *manifestCheck) binaries() {
	v := c.get("bin")
	if v == nil {
		return
	}
	list := []json.RawMessage{v}
	if v[0] == '[' {
		list = c.o.list("bin")
	}
	for _, entry := range list {
		bin, ok := textOf(entry)
		if !ok {
			c.wrong("its \"bin\" is neither a text nor a list of texts")
			return
		}
		for part := range strings.SplitSeq(strings.ReplaceAll(bin, `\`, "/"), "/") {
			if part == ".." {
				c.wrong("its \"bin\" %.80q leads out of the package", bin)
				break
			}
		}
	}
}

func (c *manifestCheck) suggestions() {
	for _, s := range parseObject(c.get("suggest")) {
		if _, ok := textOf(s.Value); !ok {
			c.wrong("its \"suggest\" gives %.80q no reason", s.Key)
		}
	}
}

func (c *manifestCheck) keywords() {
	for _, k := range c.o.list("keywords") {
		if k[0] == '{' || k[0] == '[' {
			c.wrong("its \"keywords\" are not a list of texts")
			return
		}
	}
}
