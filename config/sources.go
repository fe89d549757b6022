package config

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/joho/godotenv"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// keyDelimiter is what viper joins nested keys with. Its own choice, a dot, tears host names apart, and an underscore
// makes ADMIN_TOKEN hide ADMIN_TOKEN_HASH.
const keyDelimiter = "\x00"

// readFile returns what a YAML file sets. Settings may be written flat (proxy_metadata_ttl) or nested (proxy: metadata_ttl).
func readFile(path string) (map[string]string, Mistakes) {
	v := viper.NewWithOptions(viper.KeyDelimiter(keyDelimiter))
	v.SetConfigFile(path)
	v.SetConfigType("yaml")
	if err := v.ReadInConfig(); err != nil {
		if parse, ok := errors.AsType[viper.ConfigParseError](err); ok {
			err = parse.Unwrap()
		}
		return nil, Mistakes{fmt.Sprintf("The configuration file %s cannot be read: %v.", path, err)}
	}
	values := make(map[string]string)
	var mistakes Mistakes
	keys := v.AllKeys()
	slices.Sort(keys)
	for _, written := range keys {
		name := strings.ToUpper(strings.ReplaceAll(written, keyDelimiter, "_"))
		s, known := settingNamed(name)
		_, twice := values[s.key()]
		value := v.Get(written)
		switch {
		case !known:
			mistakes = append(mistakes, unknownKey(path, written, name))
		case twice:
			mistakes = append(mistakes, fmt.Sprintf("%s sets %s twice, once flat and once nested; only one can hold.", path, name))
		case value == nil:
		default:
			text, err := textOf(s, value)
			if err != nil {
				mistakes = append(mistakes, s.mistake(fmt.Sprint(value), path, err))
				continue
			}
			values[s.key()] = text
		}
	}
	return values, mistakes
}

func unknownKey(path, written, name string) string {
	shown := strings.ReplaceAll(written, keyDelimiter, ": ")
	for _, s := range Settings() {
		if strings.HasPrefix(name, s.Name+"_") && strings.Contains(written, keyDelimiter) {
			return fmt.Sprintf("%s sets %q, but %s takes %s and not a map.", path, shown, s.Name, s.Allowed())
		}
	}
	if near, ok := nearest(name); ok {
		return fmt.Sprintf("%s sets %q, which is no setting; %s is one.", path, shown, near)
	}
	return fmt.Sprintf("%s sets %q, which is no setting; docs/configuration.md lists them.", path, shown)
}

// textOf turns a YAML value into the text that the environment would hold.
func textOf(s Setting, value any) (string, error) {
	if list, ok := value.([]any); ok && s.Kind == "list" {
		var parts []string
		for _, item := range list {
			part, ok := item.(string)
			if !ok || strings.Contains(part, ",") {
				return "", fmt.Errorf("must be a list of texts without commas")
			}
			parts = append(parts, part)
		}
		return strings.Join(parts, ","), nil
	}
	if text, ok := value.(string); ok {
		return text, nil
	}
	if s.Kind == "text" || s.Kind == "secret" || s.Kind == "list" {
		// YAML reads 0123 as 83 and 1.10 as 1.1: what was meant is lost here.
		return "", errors.New("must be written in quotes, because YAML takes it for something other than text")
	}
	switch n := value.(type) {
	case bool:
		return strconv.FormatBool(n), nil
	case int, int64, uint64:
		return fmt.Sprint(n), nil
	case float64:
		return strconv.FormatFloat(n, 'f', -1, 64), nil
	}
	return "", fmt.Errorf("must be %s", s.Allowed())
}

// readDotenv returns what a .env file sets; a missing one sets nothing. Errors of the parser are not passed on because
// they quote the file, which holds secrets.
func readDotenv(path string) (map[string]string, Mistakes) {
	if path == "" {
		return nil, nil
	}
	values, err := godotenv.Read(path)
	var pathErr *fs.PathError
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist):
		return values, nil
	case errors.As(err, &pathErr):
		return nil, Mistakes{fmt.Sprintf("The file %s cannot be read: %v.", path, pathErr.Err)}
	}
	return nil, Mistakes{fmt.Sprintf("The file %s cannot be parsed; each line must be NAME=value, with quotes around a value that has spaces, # or $ in it.", path)}
}

func splitEnviron(environ []string) map[string]string {
	values := make(map[string]string, len(environ))
	for _, entry := range environ {
		if name, value, ok := strings.Cut(entry, "="); ok {
			values[name] = value
		}
	}
	return values
}

// fromEnvironment picks the settings out of an environment. Empty variables count as unset, since container tools set
// variables they have no value for.
func fromEnvironment(environ map[string]string) map[string]string {
	values := make(map[string]string)
	for _, s := range Settings() {
		if text := environ[s.Name]; text != "" {
			values[s.key()] = text
		}
	}
	return values
}

func fromFlags(flags *pflag.FlagSet) map[string]string {
	values := make(map[string]string)
	if flags == nil {
		return values
	}
	for _, s := range Settings() {
		if flag := flags.Lookup(s.Flag()); flag != nil && flag.Changed {
			values[s.key()] = flag.Value.String()
		}
	}
	return values
}

// AddFlags defines the flags of the named settings, or of all when none is named.
func AddFlags(flags *pflag.FlagSet, names ...string) {
	flags.SortFlags = false // the order of Config keeps together what belongs together
	for _, s := range Settings() {
		if len(names) > 0 && !slices.Contains(names, s.Name) {
			continue
		}
		f := flags.VarPF(&flagValue{s.Default, s.Kind}, s.Flag(), "", s.Summary())
		if s.Kind == "switch" {
			f.NoOptDefVal = "true"
		}
	}
}

// flagValue keeps a flag's text for Load to parse, so that flags are held to the same rules as every other source.
type flagValue struct{ text, kind string }

func (f *flagValue) String() string { return f.text }

func (f *flagValue) Set(text string) error {
	f.text = text
	return nil
}

func (f *flagValue) Type() string {
	if f.kind == "switch" {
		return "bool"
	}
	return f.kind
}
