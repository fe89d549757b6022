package main

import (
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"stasis/config"
)

// healthcheckTimeout is short of what container tools wait for.
const healthcheckTimeout = 4 * time.Second

func (p *program) healthcheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask the Stasis on this machine whether it is alive (for HEALTHCHECK)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.connect(cmd)
			if err != nil {
				return err
			}
			c.http.Timeout = healthcheckTimeout
			req, err := http.NewRequestWithContext(cmd.Context(), http.MethodGet, c.base+"/healthz", nil)
			if err != nil {
				return err
			}
			resp, err := c.do(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("%s answered %s", req.URL, resp.Status)
			}
			fmt.Fprintln(p.stdout, "alive")
			return nil
		},
	}
	config.AddFlags(cmd.Flags(), "HOST", "PORT", "TLS_CERT_FILE", "TLS_KEY_FILE", "STASIS_URL")
	return cmd
}
