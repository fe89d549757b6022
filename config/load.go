package config

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// Options say where Load looks. The zero value finds defaults only.
type Options struct {
	File    string         // a YAML file
	Dotenv  string         // a file of NAME=value lines, read when it exists
	Environ []string       // as os.Environ returns it
	Flags   *pflag.FlagSet // flags made by AddFlags, parsed
	Version string         // takes the place of {version} in PROXY_USER_AGENT
}

// Loaded is a valid configuration and where it comes from.
type Loaded struct {
	Config   Config
	Values   []Value
	Warnings []string // sentences about what looks like a mistake and is none
}

// Value is a setting with its effective value as text; secrets are hidden.
type Value struct {
	Setting
	Text   string
	Source string // "default", ".env", "environment", "flag" or the name of the file
}

// Mistakes is the error of Load and Validate: every mistake found, each one sentence.
type Mistakes []string

func (m Mistakes) Error() string { return strings.Join(m, "\n") }

// layer is one place that gives values, by Setting.key.
type layer struct {
	source string
	values map[string]string
}

// Load reads the configuration. Its error is Mistakes.
func Load(o Options) (Loaded, error) {
	var mistakes Mistakes
	layers := []layer{defaults()}
	if o.File != "" {
		values, wrong := readFile(o.File)
		mistakes = append(mistakes, wrong...)
		layers = append(layers, layer{o.File, values})
	}
	dotenv, wrong := readDotenv(o.Dotenv)
	mistakes = append(mistakes, wrong...)
	environ := splitEnviron(o.Environ)
	layers = append(layers,
		layer{".env", fromEnvironment(dotenv)},
		layer{"environment", fromEnvironment(environ)},
		layer{"flag", fromFlags(o.Flags)})

	merged, sources := merge(layers)
	var loaded Loaded
	for _, s := range Settings() {
		text := merged.GetString(s.key())
		if err := s.parse(&loaded.Config, text); err != nil {
			mistakes = append(mistakes, s.mistake(text, sources[s.key()], err))
			_ = s.parse(&loaded.Config, s.Default) // so that one mistake is not reported twice
		}
	}
	loaded.Config.normalize(o.Version)
	mistakes = append(mistakes, loaded.Config.mistakes(sources)...)
	if len(mistakes) > 0 {
		return Loaded{}, mistakes
	}
	for _, s := range Settings() {
		loaded.Values = append(loaded.Values, Value{s, s.format(&loaded.Config), sources[s.key()]})
	}
	loaded.Warnings = append(misspelled(dotenv, ".env"), misspelled(environ, "the environment")...)
	loaded.Warnings = append(loaded.Warnings, loaded.Config.warnings()...)
	return loaded, nil
}

// merge lays the layers over each other, later ones over earlier ones. All values are text here: viper drops a value
// whose type differs from the one below it.
func merge(layers []layer) (*viper.Viper, map[string]string) {
	v := viper.NewWithOptions(viper.KeyDelimiter(keyDelimiter))
	sources := make(map[string]string)
	for _, l := range layers {
		values := make(map[string]any, len(l.values))
		for key, text := range l.values {
			values[key] = text
			sources[key] = l.source
		}
		_ = v.MergeConfigMap(values) // has no way to fail
	}
	return v, sources
}

// Default is the configuration of a Stasis that nobody has configured.
func Default() Config {
	loaded, err := Load(Options{})
	if err != nil {
		panic(err) // a default that is not allowed
	}
	return loaded.Config
}

func defaults() layer {
	values := make(map[string]string)
	for _, s := range Settings() {
		values[s.key()] = s.Default
	}
	return layer{"default", values}
}

// mistake makes the sentence: name, value and source, what is allowed.
func (s Setting) mistake(text, source string, err error) string {
	if s.Kind == "secret" && text != "" {
		text = hidden
	}
	if source == "" {
		return fmt.Sprintf("%s=%q %s.", s.Name, text, err)
	}
	return fmt.Sprintf("%s=%q (%s) %s.", s.Name, text, source, err)
}

func settingNamed(name string) (Setting, bool) {
	for _, s := range Settings() {
		if s.Name == name {
			return s, true
		}
	}
	return Setting{}, false
}
