// The test cluster: one node of a real Kubernetes with a real OpenBao on this machine, or API servers alone, or OpenBao on
// raft alone. This file is its command line.
package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

const usage = `usage: tests/cluster/cluster COMMAND
  up [--kubernetes 1.37]              one node and OpenBao; what is up already is left alone, what is dead is started.
                                      Another version than the node's: its API server alone, as with --control-plane
  up --control-plane NAME [--kubernetes 1.30]
                                      only etcd and an API server on 127.0.0.1, under that name
  up --raft NAME                      only three OpenBao servers on one raft, beside the node, under that name
  down [NAME | --all]                 ends it and leaves nothing behind
  env [NAME]                          KEY=value lines: how to reach it
  images                              puts the images together again, from dist/, and imports them
  stop|start|restart COMPONENT [NAME] one component; start waits until it answers. "start openbao --sealed" leaves it sealed
  kill COMPONENT [NAME]               ends it by SIGKILL
  logs COMPONENT [NAME]               the component's log
`

func main() {
	if err := command(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "cluster: "+format+"\n", args...) }

func command(args []string) error {
	sealed, args := flag(args, "--sealed")
	all, args := flag(args, "--all")
	controlPlane, args, err := option(args, "--control-plane")
	if err != nil {
		return err
	}
	raft, args, err := option(args, "--raft")
	if err != nil {
		return err
	}
	kubernetes, args, err := option(args, "--kubernetes")
	if err != nil {
		return err
	}
	if len(args) == 0 || slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "-") }) {
		return errors.New(usage)
	}
	verb, args := args[0], args[1:]
	var component string
	switch verb {
	case "stop", "kill", "start", "restart", "logs":
		if len(args) == 0 {
			return errors.New(usage)
		}
		component, args = args[0], args[1:]
	}
	name := nodeName
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	if verb == "up" && name == nodeName && kubernetes != "" && !within(kubernetesVersion("go.mod"), kubernetes) {
		name = "kubernetes-" + strings.ReplaceAll(kubernetes, ".", "-")
	}
	if controlPlane != "" {
		name = controlPlane
	}
	if raft != "" {
		name = raft
	}
	if len(args) > 0 {
		return errors.New(usage)
	}
	if verb == "down" && all {
		return downAll()
	}
	cluster, err := open(name)
	if err != nil {
		return err
	}
	defer cluster.close()
	switch verb {
	case "up":
		return cluster.up(kubernetes, raft != "")
	case "down":
		return cluster.down()
	}
	if !cluster.exists() {
		return fmt.Errorf("%s is not up: see `up`\n%s", name, usage)
	}
	if err := cluster.load(); err != nil {
		return err
	}
	switch verb {
	case "env":
		return cluster.env()
	case "images":
		return cluster.images()
	case "stop", "kill", "start", "restart", "logs":
		return cluster.one(verb, component, sealed)
	}
	return errors.New(usage)
}

func flag(args []string, name string) (bool, []string) {
	i := slices.Index(args, name)
	if i < 0 {
		return false, args
	}
	return true, slices.Delete(slices.Clone(args), i, i+1)
}

func option(args []string, name string) (string, []string, error) {
	i := slices.Index(args, name)
	if i < 0 {
		return "", args, nil
	}
	if i+1 == len(args) {
		return "", nil, fmt.Errorf("%s wants a value\n%s", name, usage)
	}
	return args[i+1], slices.Delete(slices.Clone(args), i, i+2), nil
}
