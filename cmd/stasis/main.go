// Command stasis is a recording, caching proxy between Composer and Packagist.
//
// This package wires the others: it reads the configuration, builds the parts, listens, handles signals and chooses exit
// codes. Its other commands look after a Stasis that is running (through the management API) or at rest (through its
// data folder). What a part does is left to its package.
//
// Exit codes: 0 for success, 1 when something could not be done, 2 when the command line or the configuration is wrong.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"stasis/config"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// program is what every command works with.
type program struct {
	environ        []string
	stdin          io.Reader
	stdout, stderr io.Writer

	configFile string // --config
	asJSON     bool   // --json
	running    bool   // whether a command has begun its work: what fails before is a usage error
}

func run(ctx context.Context, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &program{environ: environ, stdin: stdin, stdout: stdout, stderr: stderr}
	root := p.command()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var mistakes config.Mistakes
	if errors.As(err, &mistakes) {
		for _, sentence := range mistakes {
			fmt.Fprintln(stderr, sentence)
		}
		return exitUsage
	}
	if !errors.Is(err, errReported) {
		fmt.Fprintln(stderr, sentence(err))
	}
	if !p.running || errors.Is(err, errUsage) {
		fmt.Fprintln(stderr, `Run "stasis help" to see what there is.`)
		return exitUsage
	}
	return exitFailure
}

var (
	// errReported ends a command that has already said what went wrong.
	errReported = errors.New("reported")
	// errUsage marks what is wrong with the command line and found only by a command itself.
	errUsage = errors.New("usage")
)

// usageError is an error about the command line.
func usageError(format string, args ...any) error {
	return &markedError{fmt.Sprintf(format, args...), errUsage}
}

type markedError struct {
	text string
	mark error
}

func (e *markedError) Error() string { return e.text }
func (e *markedError) Unwrap() error { return e.mark }

// sentence writes an error as one: with a capital and a full stop.
func sentence(err error) string {
	text := err.Error()
	if text != "" && 'a' <= text[0] && text[0] <= 'z' {
		text = strings.ToUpper(text[:1]) + text[1:]
	}
	if !strings.HasSuffix(text, ".") {
		text += "."
	}
	return text
}

func (p *program) command() *cobra.Command {
	root := &cobra.Command{
		Use:           "stasis",
		Short:         "A recording, caching proxy between Composer and Packagist",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       readBuild().Version,
		PersistentPreRun: func(*cobra.Command, []string) {
			p.running = true
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Args: cobra.NoArgs,
	}
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.SetIn(p.stdin)
	root.PersistentFlags().StringVar(&p.configFile, "config", "", "a YAML file with settings")
	root.AddGroup(
		&cobra.Group{ID: "run", Title: "Running Stasis:"},
		&cobra.Group{ID: "manage", Title: "Managing a running Stasis (STASIS_URL, ADMIN_TOKEN):"},
		&cobra.Group{ID: "past", Title: "Its time machine, and what may be seen:"},
		&cobra.Group{ID: "private", Title: "Private packages, and who may have them:"})
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("run", p.serveCommand(), p.configCommand(), p.verifyCommand(), p.restoreCommand(), p.healthcheckCommand(), p.hashTokenCommand(), p.versionCommand())
	add("manage", p.statusCommand(), p.statsCommand(), p.alertsCommand(), p.freezeCommand(), p.unfreezeCommand(),
		p.frozenCommand(), p.purgeCommand(), p.warmCommand(), p.backupCommand())
	add("past", p.snapshotCommand(), p.channelCommand(), p.historyCommand(), p.explainCommand(), p.exportCommand(), p.addImports(p.importCommand()))
	add("past", p.ruleCommands()...)
	add("private", p.packageCommand(), p.sourceCommand(), p.tokenCommand(), p.customerCommand(), p.auditCommand())
	return root
}

// load reads the configuration with the flags of cmd.
func (p *program) load(cmd *cobra.Command) (config.Loaded, error) {
	return config.Load(config.Options{
		File:    p.configFile,
		Dotenv:  ".env",
		Environ: p.environ,
		Flags:   cmd.Flags(),
		Version: readBuild().Version,
	})
}

// addJSON gives a command the flag --json.
func (p *program) addJSON(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().BoolVar(&p.asJSON, "json", false, "print JSON, for programs")
	return cmd
}
