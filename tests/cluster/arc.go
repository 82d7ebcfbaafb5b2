// ARC in the cluster: the image of its controller and listener, the runner's and dockerd's stand-ins, put together like the
// others from what `.ci/tools arc` builds.
package main

import (
	"os"
	"path/filepath"
	"strings"
)

const (
	arcImage       = "localhost/podkey-e2e-arc:" // the tag is ARC's version
	arcRunnerImage = "localhost/podkey-e2e-arc-runner:1"
	dindImage      = "docker.io/library/docker:dind" // as the scale set's chart has it
)

// Where `.ci/tools arc` puts the module's version, or the one that PODKEY_ARC_SOURCE names.
func (c *cluster) arc(file string) string {
	if os.Getenv("PODKEY_ARC_SOURCE") != "" {
		return filepath.Join(c.tools, "arc/source", file)
	}
	return filepath.Join(c.tools, "arc/module", file)
}

// The controller's version, which is the tag of its image.
func (c *cluster) arcVersion() string {
	version, _ := os.ReadFile(c.arc("version"))
	return strings.TrimSpace(string(version))
}

// None where ARC was not built. `runner` is what the runner's image has beside its own.
func (c *cluster) arcImages(runner []file) []image {
	if c.arcVersion() == "" {
		return nil
	}
	// As ARC's Dockerfile has it.
	controller := []file{{path: "manager", from: c.arc("manager"), mode: 0o755}, {path: "tmp/", mode: 0o1777}}
	for _, listener := range [][2]string{
		{"github-runnerscaleset-listener", "githubrunnerscalesetlistener"}, {"ghalistener", "ghalistener"},
	} {
		if from := c.arc(listener[1]); isFile(from) {
			controller = append(controller, file{path: listener[0], from: from, mode: 0o755})
		}
	}
	dockerd := "#!/bin/sh\n# Its socket and no more: no test runs a container in it.\n" +
		"mkdir -p /run/docker && : >/run/docker/docker.sock && : >/run/docker.sock\ntrap 'exit 0' TERM INT\nwhile :; do sleep 0.2; done\n"
	docker := append(runner[:len(runner):len(runner)],
		file{path: "usr/local/bin/dockerd", text: dockerd, mode: 0o755},
		file{path: "usr/local/bin/docker", text: "#!/bin/sh\nexec test -e /run/docker.sock\n", mode: 0o755})
	runner = append(runner[:len(runner):len(runner)],
		file{path: "home/runner/run.sh", from: c.arc("arc-lab"), mode: 0o755},
		file{path: "home/runner/externals/", mode: 0o777},
		file{path: "home/runner/externals/node", text: "node\n", mode: 0o755})
	return []image{
		{name: arcImage + c.arcVersion(), files: controller, user: "65532:65532", entrypoint: []string{"/manager"}},
		{name: arcRunnerImage, files: runner, user: "runner"},
		{name: dindImage, files: docker, command: []string{"dockerd"}},
	}
}
