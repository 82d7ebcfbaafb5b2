// The programs of a cluster: who fetches or builds them, and which versions they are.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// The programs, by .ci/tools; then which Kubernetes it is.
func (c *cluster) fetch(kubernetes string) error {
	here := filepath.Dir(os.Getenv("PODKEY_E2E_CONTROL"))
	get := func(names ...string) error {
		command := exec.Command(filepath.Join(here, "../../.ci/tools"), names...)
		command.Stderr = os.Stderr
		return command.Run()
	}
	if len(c.Raft) > 0 {
		return get("bao")
	}
	names := []string{"debian"}
	if c.node {
		names = append(names, "bao", "kubectl", "runtime", "arc")
	}
	newest, oldest := kubernetesVersion("go.mod"), kubernetesVersion("oldest.mod")
	switch {
	case kubernetes == "" || within(newest, kubernetes):
		c.Kubernetes = newest
		return get(append(names, "kube")...)
	case within(oldest, kubernetes):
		c.Kubernetes = oldest
		return get(append(names, "kube-oldest")...)
	}
	return fmt.Errorf("there is no Kubernetes %s here: %s or %s", kubernetes, newest, oldest)
}

// 1.37.1 is within 1.37 and 1.37.1.
func within(version, of string) bool { return version == of || strings.HasPrefix(version, of+".") }

func kubernetesVersion(modfile string) string { return required("k8s.io/kubernetes", modfile) }

// The version of a module that one of the modfiles beside this program requires.
func required(module, modfile string) string {
	text, err := os.ReadFile(filepath.Join(filepath.Dir(os.Getenv("PODKEY_E2E_CONTROL")), modfile))
	match := regexp.MustCompile(`(?m)^\t` + regexp.QuoteMeta(module) + ` v(\S+)`).FindSubmatch(text)
	if err != nil || match == nil {
		panic(fmt.Sprintf("%s names no version of %s: %v", modfile, module, err))
	}
	return string(match[1])
}
