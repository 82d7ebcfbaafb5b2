// A cluster's state directory, and what the commands do with it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Addresses that are in nobody else's way (10.99.0.0/16). Node, pods (one node's, of which 250 may be at once), Services.
const (
	nodeName       = "podkey-node"
	nodeAddress    = "10.99.0.1"
	podRange       = "10.99.16.0/20"
	serviceRange   = "10.99.32.0/20"
	serviceAddress = "10.99.32.1" // the range's first: the API server's own Service
)

type cluster struct {
	name    string
	node    bool   // the whole cluster, not only an API server
	dir     string // everything of it, but what host.go names
	address string // the API server's
	tools   string
	settings
	lock *os.File
}

// What must be the same each time.
type settings struct {
	Kubernetes string   `json:"kubernetes,omitempty"` // version of the API server
	APIPort    int      `json:"apiPort,omitempty"`
	EtcdPort   int      `json:"etcdPort,omitempty"`
	PeerPort   int      `json:"peerPort,omitempty"`
	Raft       [][2]int `json:"raft,omitempty"` // instead of all these: the ports of each OpenBao of one raft
}

// Not below the checkout: clones share the machine's one node. Root's is on a disk, for images are in it. Sockets are
// in it too, and their paths may have 107 bytes.
func stateDir() string {
	if dir := os.Getenv("PODKEY_E2E_STATE"); dir != "" {
		return dir
	}
	if os.Getuid() == 0 {
		return "/var/lib/podkey-e2e"
	}
	cache, _ := os.UserCacheDir()
	return filepath.Join(cache, "podkey-e2e")
}

// Opens the state of that name, there or not. Two commands for it take turns.
func open(name string) (*cluster, error) {
	if !regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$`).MatchString(name) {
		return nil, fmt.Errorf("%q cannot be a cluster's name: at most 32 of a-z, 0-9 and -", name)
	}
	c := &cluster{name: name, node: name == nodeName, address: "127.0.0.1", tools: os.Getenv("PODKEY_TOOLS")}
	if c.node {
		c.address = nodeAddress
	}
	if c.node && os.Getuid() != 0 {
		return nil, errors.New("a node needs root (mounts, network, cgroups); only `up --control-plane NAME` does without")
	}
	for {
		if err := os.MkdirAll(stateDir(), 0o711); err != nil {
			return nil, err
		}
		// As the kernel lists its mounts: without links.
		dir, err := filepath.EvalSymlinks(stateDir())
		if err != nil {
			return nil, err
		}
		c.dir = filepath.Join(dir, name)
		if c.lock, err = os.OpenFile(c.dir+".lock", os.O_CREATE|os.O_RDWR, 0o600); err != nil {
			return nil, err
		}
		if err := syscall.Flock(int(c.lock.Fd()), syscall.LOCK_EX); err != nil {
			return nil, err
		}
		// Unless the file went while this waited for it: see close.
		held, err := c.lock.Stat()
		if err != nil {
			return nil, err
		}
		if now, err := os.Stat(c.dir + ".lock"); err == nil && os.SameFile(held, now) {
			return c, nil
		}
		c.lock.Close()
	}
}

// Of a cluster that is down, the lock goes too, and after the last one the folder.
func (c *cluster) close() {
	if !isDir(c.dir) {
		_ = os.Remove(c.dir + ".lock")
		_ = os.Remove(stateDir())
	}
	c.lock.Close()
}

func (c *cluster) path(parts ...string) string {
	return filepath.Join(append([]string{c.dir}, parts...)...)
}

func (c *cluster) exists() bool {
	_, err := os.Stat(c.path("settings.json"))
	return err == nil
}

func (c *cluster) load() error {
	text, err := os.ReadFile(c.path("settings.json"))
	if err != nil {
		return err
	}
	return json.Unmarshal(text, &c.settings)
}

func (c *cluster) save() error {
	text, err := json.Marshal(c.settings)
	if err != nil {
		return err
	}
	return replace(c.path("settings.json"), string(text))
}

// Writes a file that others may be reading: they find the old text or the new, and a file that need not change does not.
func replace(path, text string) error {
	if now, err := os.ReadFile(path); err == nil && string(now) == text {
		return nil
	}
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// Nothing of the caller's but this: a proxy, say, must not come between the components.
func (c *cluster) environment() []string {
	debian := filepath.Join(c.tools, "debian")
	return []string{
		"HOME=" + c.dir,
		// containerd finds its shim here, the kubelet mount, and kube-proxy nft.
		"PATH=" + strings.Join([]string{c.runtime(""), debian + "/usr/sbin", debian + "/usr/bin", debian + "/bin",
			"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}, ":"),
		"LD_LIBRARY_PATH=" + c.libraries(), // nft's
	}
}

func (c *cluster) libraries() string {
	triplet := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]
	return filepath.Join(c.tools, "debian/usr/lib", triplet)
}

// Runs one of the tools to its end.
func (c *cluster) run(name string, args ...string) (string, error) {
	for _, dir := range []string{c.runtime(""), c.debian("usr/sbin"), c.debian("usr/bin"), c.debian("bin")} {
		if path := filepath.Join(dir, name); isFile(path) {
			name = path
			break
		}
	}
	command := exec.Command(name, args...)
	command.Env = c.environment()
	output, err := command.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", filepath.Base(name), strings.Join(args, " "), err, strings.TrimSpace(string(output)))
	}
	return string(output), err
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}

func (c *cluster) up(kubernetes string, raft bool) error {
	began := time.Now()
	if raft && !hasBridge() {
		return errors.New("the servers of --raft are reached at the node's address: `up` comes first")
	}
	if c.exists() {
		if err := c.load(); err != nil {
			return err
		}
	} else if raft {
		c.Raft = make([][2]int, 3)
	}
	if err := c.fetch(kubernetes); err != nil {
		return err
	}
	for _, dir := range []string{"", "logs", "config"} {
		if err := os.MkdirAll(c.path(dir), 0o711); err != nil {
			return err
		}
	}
	if err := c.choosePorts(); err != nil {
		return err
	}
	if c.node {
		if err := c.prepareHost(); err != nil {
			return err
		}
		// As containerd makes it, root alone can pass, and no pod with users of its own (hostUsers: false) would start.
		if err := errors.Join(os.MkdirAll(c.path("containerd"), 0o711), os.Chmod(c.path("containerd"), 0o711)); err != nil {
			return err
		}
	}
	if err := c.save(); err != nil {
		return err
	}
	if err := c.makePKI(); err != nil {
		return err
	}
	if len(c.Raft) == 0 {
		if err := c.writeKubeconfigs(); err != nil {
			return err
		}
	}
	for _, server := range c.openbaos() {
		if err := os.MkdirAll(server.data(), 0o700); err != nil {
			return err
		}
	}
	for _, component := range c.components() {
		if err := c.start(component); err != nil {
			return err
		}
		if component.name == "containerd" {
			if err := c.images(); err != nil {
				return err
			}
		}
	}
	if len(c.Raft) == 0 {
		if err := c.settle(); err != nil {
			return err
		}
	}
	what := "Kubernetes " + c.Kubernetes
	if !c.node {
		what = "the API server of " + what
	}
	if len(c.Raft) > 0 {
		what = "OpenBao"
	}
	say("%s is up after %.1f s (%s)", c.name, time.Since(began).Seconds(), what)
	return nil
}

// Ports that are free now, kept from then on. Below those that the kernel gives to clients: while etcd is
// stopped, none of the API server's attempts to reach it may take its port. And below those of Services (NodePort).
func (c *cluster) choosePorts() error {
	if c.node && c.APIPort == 0 {
		c.APIPort = 6443
	}
	ports := []*int{&c.EtcdPort, &c.PeerPort, &c.APIPort}
	if len(c.Raft) > 0 {
		ports = nil
	}
	for i := range c.Raft {
		ports = append(ports, &c.Raft[i][0], &c.Raft[i][1])
	}
	for _, port := range ports {
		for attempt := 0; *port == 0; attempt++ {
			candidate := 20000 + rand.IntN(10000)
			listener, err := net.Listen("tcp", fmt.Sprint(":", candidate))
			if err == nil {
				defer listener.Close() // after all are chosen: they differ
				*port = candidate
			} else if attempt == 100 {
				return err
			}
		}
	}
	return nil
}

func (c *cluster) server() string {
	return "https://" + net.JoinHostPort(c.address, strconv.Itoa(c.APIPort))
}

func (c *cluster) writeKubeconfigs() error {
	users := []string{"admin"}
	if c.node {
		users = append(users, "kubelet", "kube-controller-manager", "kube-scheduler", "kube-proxy")
	}
	for _, user := range users {
		text, err := c.kubeconfig(user)
		if err != nil {
			return err
		}
		if err := replace(c.path("config", user+".kubeconfig"), text); err != nil {
			return err
		}
	}
	return nil
}

// After all have answered: what pods need before the first can be created.
func (c *cluster) settle() error {
	api, err := c.api()
	if err != nil {
		return err
	}
	if !c.node {
		// There is no controller manager that would create it.
		return wait(startLimit, func(ctx context.Context) error {
			return api.create(ctx, "/api/v1/namespaces/default/serviceaccounts", `{"metadata":{"name":"default"}}`)
		})
	}
	if err := wait(startLimit, func(ctx context.Context) error {
		_, err := api.get(ctx, "/api/v1/namespaces/default/serviceaccounts/default")
		return err
	}); err != nil {
		return err
	}
	return wait(startLimit, api.nodeReady)
}

func (c *cluster) env() error {
	if len(c.Raft) > 0 {
		for i, server := range c.openbaos() {
			fmt.Printf("PODKEY_E2E_OPENBAO_%d_ADDR=%s\n", i+1, server.url())
		}
		fmt.Printf("PODKEY_E2E_OPENBAO_CA=%s\n", c.pki("openbao-ca.crt"))
		fmt.Printf("PODKEY_E2E_OPENBAO_TOKEN_FILE=%s\n", c.path("openbao", "root-token"))
		return nil
	}
	values := [][2]string{
		{"PODKEY_E2E_KUBECONFIG", c.path("config", "admin.kubeconfig")},
		{"PODKEY_E2E_KUBERNETES_HOST", c.server()},
		{"PODKEY_E2E_CONTROL", os.Getenv("PODKEY_E2E_CONTROL")},
		{"PODKEY_E2E_HOST_ADDRESS", hostAddress(c.node)},
	}
	if c.node {
		values = append(values, [][2]string{
			{"PODKEY_E2E_OPENBAO_ADDR", c.openbaos()[0].url()},
			{"PODKEY_E2E_OPENBAO_HTTP_ADDR", "http://" + nodeAddress + ":8201"},
			{"PODKEY_E2E_OPENBAO_CA", c.pki("openbao-ca.crt")},
			{"PODKEY_E2E_OPENBAO_TOKEN_FILE", c.path("openbao", "root-token")},
			{"PODKEY_E2E_OPENBAO_AUDIT_LOG", c.openbaos()[0].audit()},
			{"PODKEY_E2E_IMAGE", podkeyImage},
			{"PODKEY_E2E_BUSYBOX_IMAGE", busyboxImage},
			{"PODKEY_E2E_BUSYBOX_NAMED_IMAGE", busyboxNamedImage},
			{"PODKEY_E2E_KUBECTL_IMAGE", kubectlImage},
			{"PODKEY_E2E_ARC", c.arc("")},
			{"PODKEY_E2E_ARC_IMAGE", arcImage + c.arcVersion()},
			{"PODKEY_E2E_ARC_RUNNER_IMAGE", arcRunnerImage},
		}...)
	}
	for _, value := range values {
		fmt.Printf("%s=%s\n", value[0], value[1])
	}
	return nil
}

// Where processes on this machine are reached by pods, and by an API server through an EndpointSlice (in which an address
// of the loopback interface is not allowed).
func hostAddress(node bool) string {
	if node {
		return nodeAddress
	}
	addresses, _ := net.InterfaceAddrs()
	for _, address := range addresses {
		if ip, is := address.(*net.IPNet); is && ip.IP.To4() != nil && ip.IP.IsGlobalUnicast() {
			return ip.IP.String()
		}
	}
	return "127.0.0.1"
}

func (c *cluster) one(verb, name string, sealed bool) error {
	var names []string
	for _, component := range c.components() {
		names = append(names, component.name)
		if component.name != name {
			continue
		}
		if sealed && component.unusable != nil {
			component.answers = component.unusable
		}
		switch verb {
		case "logs":
			log, err := os.Open(c.log(name))
			if err != nil {
				return err
			}
			defer log.Close()
			_, err = io.Copy(os.Stdout, log)
			return err
		case "kill":
			return c.kill(component)
		case "stop", "restart":
			if err := c.stop(component); err != nil || verb == "stop" {
				return err
			}
		}
		return c.start(component)
	}
	return fmt.Errorf("%s has no component %q: %s", c.name, name, strings.Join(names, ", "))
}

func (c *cluster) down() error {
	if c.exists() {
		if err := c.load(); err != nil {
			return err
		}
	}
	// In the order that leaves nobody to start things again, or to write rules.
	for _, component := range slices.Backward(c.components()) {
		if err := c.stop(component); err != nil {
			return err
		}
	}
	if c.hasHost() {
		if err := c.cleanHost(); err != nil {
			return err
		}
	}
	// Before the folder goes: what is still mounted there must not go with it. The kernel takes a moment for interfaces, more than a minute after many pods.
	if err := wait(3*time.Minute, c.left); err != nil {
		return err
	}
	if err := os.RemoveAll(c.dir); err != nil {
		return err
	}
	say("%s is down, nothing is left", c.name)
	return nil
}

func downAll() error {
	entries, err := os.ReadDir(stateDir())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		c, err := open(entry.Name())
		if err != nil {
			return err
		}
		err = c.down()
		c.close()
		if err != nil {
			return err
		}
	}
	return nil
}
