package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"stasis/config"
)

// shownSetting is a setting as "stasis config --json" prints it.
type shownSetting struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Source  string `json:"source"`
	Default string `json:"default"`
}

func (p *program) configCommand() *cobra.Command {
	cmd := p.addJSON(&cobra.Command{
		Use:   "config",
		Short: "Check the configuration and print what is in effect",
		Long: "Prints every setting with its effective value and where it comes from: flag, environment, .env, the file given with " +
			"--config, or default. Secrets are hidden. Mistakes are listed instead, all of them, with exit code 2.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := p.load(cmd)
			if err != nil {
				return err
			}
			for _, warning := range loaded.Warnings {
				fmt.Fprintln(p.stderr, warning)
			}
			if p.asJSON {
				var shown []shownSetting
				for _, v := range loaded.Values {
					shown = append(shown, shownSetting{v.Name, v.Text, v.Source, v.Default})
				}
				return printJSON(p.stdout, shown)
			}
			w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "SETTING\tVALUE\tSOURCE")
			for _, v := range loaded.Values {
				fmt.Fprintf(w, "%s\t%s\t%s\n", v.Name, printable(v.Text), v.Source)
			}
			return w.Flush()
		},
	})
	config.AddFlags(cmd.Flags())
	return cmd
}
