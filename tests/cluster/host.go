// What the node does to the machine outside its state directory, how that is undone, and the check that it was.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const bridge = "pknode0"

// Set by the kubelet, kube-proxy and the ptp plugin.
var sysctls = []string{"net/ipv4/ip_forward", "vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
	"kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes"}

// Made by containerd, libcni and the kubelet, which cannot be told another place.
var folders = []string{"/run/containerd", "/var/lib/cni", "/var/lib/kubelet", "/var/log/containers"}

// How the machine was before.
type host struct {
	Sysctls map[string]string `json:"sysctls"`
	Folders []string          `json:"folders"` // those that were not there
}

// Whether the machine's pods, tables and interfaces are this cluster's: nobody else's are ever touched.
func (c *cluster) hasHost() bool { return isFile(c.path("host.json")) }

func (c *cluster) prepareHost() error {
	if !c.hasHost() {
		if len(cgroups()) > 0 || hasBridge() {
			return fmt.Errorf("this machine has a kubelet's cgroups %v or the interface %s already: another cluster runs here, or is left over", cgroups(), bridge)
		}
		h := host{Sysctls: map[string]string{}}
		for _, name := range sysctls {
			if value, err := os.ReadFile("/proc/sys/" + name); err == nil {
				h.Sysctls[name] = string(value)
			}
		}
		for _, folder := range folders {
			if !isDir(folder) {
				h.Folders = append(h.Folders, folder)
			}
		}
		text, err := json.Marshal(h)
		if err != nil {
			return err
		}
		if err := replace(c.path("host.json"), string(text)); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(c.config("cni"), 0o700); err != nil {
		return err
	}
	if hasBridge() {
		return nil
	}
	// The node's address, on an interface that every kernel has. That nothing is plugged in does not matter. (With an
	// address of the loopback interface the node would have none, and nobody could ask the kubelet for logs.)
	for _, args := range [][]string{
		{"link", "add", bridge, "type", "bridge"},
		{"addr", "add", nodeAddress + "/32", "dev", bridge},
		{"link", "set", bridge, "up"},
	} {
		if _, err := c.run("busybox", append([]string{"ip"}, args...)...); err != nil {
			return err
		}
	}
	return nil
}

func hasBridge() bool {
	_, err := net.InterfaceByName(bridge)
	return err == nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func (c *cluster) cleanHost() error {
	// The pods' processes first, while their shims see to their ends.
	if err := kill(podProcesses); err != nil {
		return err
	}
	if err := kill(c.processes); err != nil {
		return err
	}
	for _, path := range slices.Backward(c.mounts()) {
		if err := syscall.Unmount(path, syscall.MNT_DETACH); err != nil && !errors.Is(err, syscall.EINVAL) {
			return fmt.Errorf("umount %s: %w", path, err)
		}
	}
	for _, table := range c.tables() {
		if _, err := c.run("nft", "delete", "table", table, "kube-proxy"); err != nil {
			return err
		}
	}
	for _, cgroup := range cgroups() {
		removeCgroup(cgroup)
	}
	if hasBridge() {
		if _, err := c.run("busybox", "ip", "link", "del", bridge); err != nil {
			return err
		}
	}
	return c.restoreHost()
}

func (c *cluster) restoreHost() error {
	text, err := os.ReadFile(c.path("host.json"))
	if err != nil {
		return err
	}
	var h host
	if err := json.Unmarshal(text, &h); err != nil {
		return err
	}
	for name, value := range h.Sysctls {
		if now, err := os.ReadFile("/proc/sys/" + name); err == nil && string(now) != value {
			if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0o644); err != nil {
				return err
			}
		}
	}
	for _, folder := range h.Folders {
		if err := os.RemoveAll(folder); err != nil {
			return err
		}
	}
	return nil
}

// What is still there of this cluster, after all was ended.
func (c *cluster) left(context.Context) error {
	var left []string
	for _, pid := range c.processes() {
		left = append(left, fmt.Sprint("process ", pid))
	}
	if c.hasHost() {
		for _, pid := range podProcesses() {
			left = append(left, fmt.Sprint("process ", pid, " of a pod"))
		}
		for _, path := range c.mounts() {
			left = append(left, "mount "+path)
		}
		for _, table := range c.tables() {
			left = append(left, "table "+table+" kube-proxy")
		}
		for _, cgroup := range cgroups() {
			left = append(left, "cgroup "+cgroup)
		}
		for _, name := range interfaces() {
			left = append(left, "interface "+name)
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("this is left of %s: %s", c.name, strings.Join(left, ", "))
	}
	return nil
}

func podProcesses() (pids []int) {
	for _, cgroup := range cgroups() {
		_ = filepath.WalkDir(cgroup, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.Name() == "cgroup.procs" {
				text, _ := os.ReadFile(path)
				for _, field := range strings.Fields(string(text)) {
					if pid, err := strconv.Atoi(field); err == nil && nulls(pid, "cmdline")[0] != "" {
						pids = append(pids, pid)
					}
				}
			}
			return nil
		})
	}
	slices.Sort(pids)
	return slices.Compact(pids)
}

// Kills them until none is left.
func kill(left func() []int) error {
	for end := time.Now().Add(stopLimit); ; time.Sleep(50 * time.Millisecond) {
		pids := left()
		if len(pids) == 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("processes do not end: %v", pids)
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// Below the state directory, outer ones first.
func (c *cluster) mounts() (paths []string) {
	text, _ := os.ReadFile("/proc/self/mountinfo")
	for _, line := range strings.Split(string(text), "\n") {
		fields := strings.Fields(line)
		if len(fields) > 4 && strings.HasPrefix(fields[4], c.dir+"/") {
			paths = append(paths, strings.ReplaceAll(fields[4], `\040`, " "))
		}
	}
	return paths
}

// The kubelet's, in each hierarchy (cgroup v1) or the one (v2).
func cgroups() (paths []string) {
	for _, pattern := range []string{"/sys/fs/cgroup/kubepods", "/sys/fs/cgroup/*/kubepods"} {
		found, _ := filepath.Glob(pattern)
		for _, path := range found {
			// cpu is a link to cpu,cpuacct, say.
			if path, err := filepath.EvalSymlinks(path); err == nil && !slices.Contains(paths, path) {
				paths = append(paths, path)
			}
		}
	}
	return paths
}

// Deepest first. A process that just ended keeps its folder busy for a moment.
func removeCgroup(path string) {
	entries, _ := os.ReadDir(path)
	for _, entry := range entries {
		if entry.IsDir() {
			removeCgroup(filepath.Join(path, entry.Name()))
		}
	}
	for range 100 {
		if err := syscall.Rmdir(path); err == nil || errors.Is(err, syscall.ENOENT) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// The families in which kube-proxy has its table.
func (c *cluster) tables() (families []string) {
	for _, family := range []string{"ip", "ip6"} {
		if _, err := c.run("nft", "list", "table", family, "kube-proxy"); err == nil {
			families = append(families, family)
		}
	}
	return families
}

// The bridge, and the pods' interfaces on this side: their address is the gateway that host-local chose, of the pods' range.
func interfaces() (names []string) {
	_, pods, _ := net.ParseCIDR(podRange)
	all, _ := net.Interfaces()
	for _, i := range all {
		addresses, _ := i.Addrs()
		ours := slices.ContainsFunc(addresses, func(a net.Addr) bool {
			ip, is := a.(*net.IPNet)
			return is && pods.Contains(ip.IP)
		})
		if i.Name == bridge || ours {
			names = append(names, i.Name)
		}
	}
	return names
}
