// The images, put together from static programs as docker-archive files and given to containerd: no registry, no builder.
package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

const (
	podkeyImage       = "localhost/podkey:e2e"
	busyboxImage      = "localhost/podkey-e2e-busybox:1"
	busyboxNamedImage = "localhost/podkey-e2e-busybox-named:1"
	kubectlImage      = "localhost/podkey-e2e-kubectl:1"
	pauseImage        = "localhost/podkey-e2e-pause:1"
)

type image struct {
	name       string
	files      []file
	user       string
	entrypoint []string
	command    []string
}

// From a file on this machine, or a link's target, or text, or (none of them) a folder.
type file struct {
	path, from, link, text string
	mode                   int64
}

func (c *cluster) images() error {
	busybox, err := c.busyboxFiles()
	if err != nil {
		return err
	}
	kubectl := append(busybox[:len(busybox):len(busybox)],
		file{path: "usr/local/bin/kubectl", from: filepath.Join(c.tools, "bin/kubectl"), mode: 0o755})
	images := []image{
		{name: busyboxImage, files: busybox, command: []string{"/bin/sh"}},
		// By name, as in many images: the kubelet cannot tell that it is not root.
		{name: busyboxNamedImage, files: busybox, user: "github", command: []string{"/bin/sh"}},
		// For the runner's image, in which the user is a name, too.
		{name: kubectlImage, files: kubectl, user: "runner", command: []string{"/bin/sh"}},
		{name: pauseImage, files: busybox, entrypoint: []string{"/bin/busybox", "sleep", "2147483647"}},
	}
	images = append(images, c.arcImages(kubectl)...)
	present, err := c.ctr("images", "ls", "-q")
	if err != nil {
		return err
	}
	dist := os.Getenv("PODKEY_DIST") // of `make dist`; by default this checkout's
	if dist == "" {
		dist = filepath.Join(filepath.Dir(os.Getenv("PODKEY_E2E_CONTROL")), "../../dist")
	}
	dist = filepath.Join(dist, runtime.GOARCH)
	wrapper := func(name string) string {
		return filepath.Join(filepath.Dir(os.Getenv("PODKEY_E2E_CONTROL")), "../../src/agent/volume", name)
	}
	if isFile(filepath.Join(dist, "podkey")) {
		// As the Dockerfile has it.
		images = append(images, image{name: podkeyImage, user: "65532:65532", entrypoint: []string{"/bin/podkey"}, files: []file{
			{path: "bin/podkey", from: filepath.Join(dist, "podkey"), mode: 0o755},
			{path: "podkey-agent", from: filepath.Join(dist, "podkey-agent"), mode: 0o755},
			{path: "job-started.sh", from: wrapper("job-started.sh"), mode: 0o755},
			{path: "job-completed.sh", from: wrapper("job-completed.sh"), mode: 0o755},
			{path: "etc/ssl/certs/ca-certificates.crt", from: "/etc/ssl/certs/ca-certificates.crt", mode: 0o644},
		}})
	} else if !strings.Contains(present, podkeyImage+"\n") {
		say("there is no %s: no image of podkey (make dist, then: images)", filepath.Join(dist, "podkey"))
	}
	if err := os.MkdirAll(c.path("images"), 0o700); err != nil {
		return err
	}
	for _, image := range images {
		archive, err := image.archive()
		if err != nil {
			return err
		}
		digest := fmt.Sprintf("%x", sha256.Sum256(archive))
		record := c.path("images", strings.NewReplacer("/", "_", ":", "_").Replace(image.name))
		if before, _ := os.ReadFile(record); string(before) == digest && strings.Contains(present, image.name+"\n") {
			continue
		}
		if err := os.WriteFile(record+".tar", archive, 0o600); err != nil {
			return err
		}
		if _, err := c.ctr("images", "import", record+".tar"); err != nil {
			return err
		}
		_ = os.Remove(record + ".tar")
		if err := os.WriteFile(record, []byte(digest), 0o600); err != nil {
			return err
		}
		say("image %s", image.name)
	}
	return nil
}

// A small userland: busybox under each of its names, and users as the images of the tests' pods have them.
func (c *cluster) busyboxFiles() ([]file, error) {
	names, err := c.run("busybox", "--list-full")
	if err != nil {
		return nil, err
	}
	files := []file{
		{path: "bin/busybox", from: c.debian("bin/busybox"), mode: 0o755},
		{path: "etc/passwd", mode: 0o644, text: "root:x:0:0:root:/root:/bin/sh\n" +
			"runner:x:1001:1001::/home/runner:/bin/sh\ngithub:x:1002:1002::/home/github:/bin/sh\n"},
		{path: "etc/group", mode: 0o644, text: "root:x:0:\nrunner:x:1001:\ngithub:x:1002:\n"},
		{path: "tmp/", mode: 0o1777}, {path: "root/", mode: 0o700}, {path: "home/runner/", mode: 0o777},
		{path: "home/github/", mode: 0o777}, {path: "var/", mode: 0o755}, {path: "var/run", link: "/run"}, {path: "run/", mode: 0o755},
	}
	for _, name := range strings.Fields(names) {
		if name != "bin/busybox" {
			files = append(files, file{path: name, link: "/bin/busybox"})
		}
	}
	return files, nil
}

// The same bytes each time, as long as the files are the same.
func (i image) archive() ([]byte, error) {
	var layer bytes.Buffer
	writer := tar.NewWriter(&layer)
	for _, f := range i.files {
		header := &tar.Header{Name: f.path, Mode: f.mode, Typeflag: tar.TypeReg}
		content := []byte(f.text)
		switch {
		case strings.HasSuffix(f.path, "/"):
			header.Typeflag = tar.TypeDir
		case f.link != "":
			header.Typeflag, header.Linkname, header.Mode = tar.TypeSymlink, f.link, 0o777
		case f.from != "":
			var err error
			if content, err = os.ReadFile(f.from); err != nil {
				return nil, err
			}
		}
		header.Size = int64(len(content))
		if err := write(writer, header, content); err != nil {
			return nil, err
		}
	}
	if err := writer.Close(); err != nil {
		return nil, err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config": map[string]any{
			"User": i.user, "Entrypoint": i.entrypoint, "Cmd": i.command,
			"Env": []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer.Bytes()))}},
	})
	if err != nil {
		return nil, err
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{i.name}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return nil, err
	}
	var archive bytes.Buffer
	writer = tar.NewWriter(&archive)
	for _, part := range []struct {
		name    string
		content []byte
	}{{"manifest.json", manifest}, {"config.json", config}, {"layer.tar", layer.Bytes()}} {
		header := &tar.Header{Name: part.name, Mode: 0o644, Size: int64(len(part.content))}
		if err := write(writer, header, part.content); err != nil {
			return nil, err
		}
	}
	return archive.Bytes(), writer.Close()
}

func write(writer *tar.Writer, header *tar.Header, content []byte) error {
	if err := writer.WriteHeader(header); err != nil {
		return err
	}
	_, err := writer.Write(content)
	return err
}
