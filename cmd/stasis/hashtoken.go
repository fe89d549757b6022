package main

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"stasis/private/access"
)

func (p *program) hashTokenCommand() *cobra.Command {
	var generate bool
	cmd := &cobra.Command{
		Use:   "hash-token",
		Short: "Make the ADMIN_TOKEN_HASH of a token",
		Long: "Reads a token from standard input (without showing it, on a terminal) and prints its argon2id hash. With --generate " +
			"it draws a token at random and prints both.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if generate {
				token := rand.Text()
				fmt.Fprintf(p.stdout, "ADMIN_TOKEN=%s\nADMIN_TOKEN_HASH='%s'\n", token, access.HashToken(token))
				return nil
			}
			token, err := p.readToken()
			if err != nil {
				return err
			}
			fmt.Fprintln(p.stdout, access.HashToken(token))
			return nil
		},
	}
	cmd.Flags().BoolVar(&generate, "generate", false, "draw a token at random")
	return cmd
}

func (p *program) readToken() (string, error) {
	if f, ok := p.stdin.(*os.File); ok && isTerminal(f) {
		fmt.Fprint(p.stderr, "Token: ")
		text, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(p.stderr)
		return checkedToken(string(text), err)
	}
	text, err := bufio.NewReader(io.LimitReader(p.stdin, 4096)).ReadString('\n')
	if err == io.EOF {
		err = nil
	}
	return checkedToken(strings.TrimRight(text, "\r\n"), err)
}

func checkedToken(token string, err error) (string, error) {
	switch {
	case err != nil:
		return "", fmt.Errorf("the token cannot be read: %w", err)
	case token == "":
		return "", errors.New("there is no token on standard input")
	}
	return token, nil
}
