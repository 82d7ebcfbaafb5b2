// What ARC's controller needs around it in the end-to-end tests: a stand-in for GitHub's service, and a program that behaves
// as the runner does towards job hooks. This file is its command line.
package main

import (
	"fmt"
	"io"
	"os"
)

const usage = `usage: arc-lab COMMAND
  github ADDRESS   serves GitHub's service on a free port of that address until standard input ends. The first line of
                   standard output is JSON: url, and ca (PEM)
  runner           takes one job, by ACTIONS_RUNNER_INPUT_JITCONFIG, runs it and ends
`

func main() {
	err := fmt.Errorf(usage)
	switch args := os.Args[1:]; {
	case len(args) == 2 && args[0] == "github":
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(0)
		}()
		err = serve(args[1])
	// In the image, the program is /home/runner/run.sh, without arguments.
	case len(args) == 0, len(args) == 1 && args[0] == "runner":
		err = run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "arc-lab:", err)
		os.Exit(1)
	}
}
