// What runs, in the order of its start, with every flag. A flag that only says where something is has no comment.
package main

import (
	"context"
	"fmt"
	"path/filepath"
)

func (c *cluster) components() []component {
	if len(c.Raft) > 0 {
		var components []component
		for _, server := range c.openbaos() {
			components = append(components, server.component())
		}
		return components
	}
	components := []component{c.etcd(), c.apiserver()}
	if c.node {
		components = append(components, c.openbaos()[0].component(), c.containerd(), c.controllerManager(), c.scheduler(),
			c.kubelet(), c.proxy())
	}
	return components
}

func (c *cluster) debian(path string) string { return filepath.Join(c.tools, "debian", path) }
func (c *cluster) kubernetes(name string) string {
	return filepath.Join(c.tools, "kube", c.Kubernetes, name)
}

// One of what runs the node's containers: containerd, its shim, ctr, runc.
func (c *cluster) runtime(name string) string {
	return filepath.Join(c.tools, "runtime", required("github.com/containerd/containerd/v2", "runtime/go.mod"), name)
}
func (c *cluster) config(file string) string { return c.path("config", file) }
func (c *cluster) etcdURL() string           { return fmt.Sprintf("http://127.0.0.1:%d", c.EtcdPort) }

func (c *cluster) etcd() component {
	peer := fmt.Sprintf("http://127.0.0.1:%d", c.PeerPort)
	return component{
		name: "etcd",
		args: []string{c.debian("usr/bin/etcd"),
			"--name=" + c.name,
			"--data-dir=" + c.path("etcd"),
			"--listen-client-urls=" + c.etcdURL(),
			"--advertise-client-urls=" + c.etcdURL(),
			"--listen-peer-urls=" + peer,
			"--initial-advertise-peer-urls=" + peer,
			"--initial-cluster=" + c.name + "=" + peer,
		},
		answers: healthy(c.etcdURL() + "/health"),
	}
}

func (c *cluster) apiserver() component {
	args := []string{c.kubernetes("kube-apiserver"),
		"--etcd-servers=" + c.etcdURL(),
		"--bind-address=" + c.address,
		fmt.Sprint("--secure-port=", c.APIPort),
		"--client-ca-file=" + c.pki("ca.crt"),
		"--tls-cert-file=" + c.pki("apiserver.crt"),
		"--tls-private-key-file=" + c.pki("apiserver.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + c.pki("service-account.key"),
		"--service-account-signing-key-file=" + c.pki("service-account.key"),
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--service-cluster-ip-range=" + serviceRange,
		"--allow-privileged=true", // docker in docker
		// Otherwise its end waits, up to a minute, until those who watch go by themselves.
		"--shutdown-send-retry-after=true",
	}
	if c.node {
		args = append(args,
			"--advertise-address="+nodeAddress,
			"--kubelet-preferred-address-types=InternalIP", // nobody resolves the node's name
			"--kubelet-certificate-authority="+c.pki("ca.crt"),
			"--kubelet-client-certificate="+c.pki("apiserver-kubelet.crt"),
			"--kubelet-client-key="+c.pki("apiserver-kubelet.key"))
	} else {
		args = append(args,
			// No kube-proxy: a webhook behind a Service is reached at its endpoints.
			"--enable-aggregator-routing=true",
			// Nothing asks for the API server by its Service, and 127.0.0.1 is refused as an endpoint.
			"--endpoint-reconciler-type=none",
			"--advertise-address="+hostAddress(false))
	}
	return component{
		name: "kube-apiserver",
		args: args,
		answers: func(ctx context.Context) error {
			api, err := c.api()
			if err != nil {
				return err
			}
			_, err = api.get(ctx, "/readyz")
			return err
		},
	}
}

func (c *cluster) controllerManager() component {
	config := c.config("kube-controller-manager.kubeconfig")
	return component{
		name: "kube-controller-manager",
		args: []string{c.kubernetes("kube-controller-manager"),
			"--kubeconfig=" + config,
			"--authentication-kubeconfig=" + config,
			"--authorization-kubeconfig=" + config,
			"--bind-address=127.0.0.1",
			"--root-ca-file=" + c.pki("ca.crt"),
			"--service-account-private-key-file=" + c.pki("service-account.key"),
			"--use-service-account-credentials=true",
			// With the usual 20 a second, a new namespace's service account comes seconds late.
			"--kube-api-qps=500", "--kube-api-burst=1000",
			"--leader-elect=false", // there is one, and a restart must not wait for its lease
		},
		answers: healthy("https://127.0.0.1:10257/healthz"),
	}
}

// Starts a program again when it has ended, as the kubelet does with a container. The scheduler ends by itself when it finds
// that it missed an event, as it may when the API server restarts.
const keep = `trap 'kill $!; wait $!; exit' TERM; while :; do "$0" "$@" & wait $!; echo "started again"; sleep 1; done`

func (c *cluster) scheduler() component {
	config := c.config("kube-scheduler.kubeconfig")
	return component{
		name: "kube-scheduler",
		args: []string{c.debian("bin/busybox"), "sh", "-c", keep, c.kubernetes("kube-scheduler"),
			"--kubeconfig=" + config,
			"--authentication-kubeconfig=" + config,
			"--authorization-kubeconfig=" + config,
			"--bind-address=127.0.0.1",
			"--kube-api-qps=500", "--kube-api-burst=1000", // 200 pods at once
			"--leader-elect=false",
		},
		own:     keep,
		answers: healthy("https://127.0.0.1:10259/healthz"),
	}
}

func (c *cluster) containerdSocket() string { return c.path("containerd.sock") }

func (c *cluster) containerd() component {
	config := fmt.Sprintf(`version = 3
root = "%[1]s/containerd/root"
state = "%[1]s/containerd/state"

[grpc]
  address = "%[2]s"

# Otherwise it makes /opt/containerd and /var/run/nri.
[plugins."io.containerd.internal.v1.opt"]
  path = "%[1]s/containerd/opt"
[plugins."io.containerd.nri.v1.nri"]
  disable = true

[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "%[3]s"

[plugins."io.containerd.cri.v1.runtime"]
  # Root without CAP_SYS_RESOURCE, as in some containers and virtual machines, may not lower the score: runc dies of it.
  restrict_oom_score_adj = true
  # Not /var/run/netns: mounts are taken down with the state directory.
  netns_mounts_under_state_dir = true

  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["%[4]s"]
    conf_dir = "%[1]s/config/cni"

  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      BinaryName = "%[5]s"
      Root = "%[1]s/containerd/runc"
      SystemdCgroup = false
`, c.dir, c.containerdSocket(), pauseImage, c.debian("usr/lib/cni"), c.runtime("runc"))
	// A pair of interfaces for each pod and a route to it: no bridge, no iptables rule. Pods see the node, each other
	// and, through kube-proxy, Services; nothing outside, for want of masquerading.
	cni := fmt.Sprintf(`{
  "cniVersion": "0.4.0",
  "name": "podkey-e2e",
  "plugins": [{
    "type": "ptp",
    "ipMasq": false,
    "ipam": {
      "type": "host-local",
      "ranges": [[{"subnet": "%s"}]],
      "routes": [{"dst": "0.0.0.0/0"}],
      "dataDir": "%s"
    }
  }]
}
`, podRange, c.path("cni"))
	return component{
		name: "containerd",
		args: []string{c.runtime("containerd"), "--config=" + c.config("containerd.toml")},
		files: map[string]string{
			c.config("containerd.toml"):        config,
			c.config("cni/10-podkey.conflist"): cni,
		},
		answers: func(context.Context) error {
			_, err := c.ctr("version")
			return err
		},
	}
}

func (c *cluster) ctr(args ...string) (string, error) {
	return c.run("ctr", append([]string{"--address", c.containerdSocket(), "--namespace", "k8s.io"}, args...)...)
}

func (c *cluster) kubelet() component {
	config := fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: %[2]s
healthzBindAddress: 127.0.0.1
containerRuntimeEndpoint: unix://%[3]s
podLogsDir: %[1]s/kubelet-pods
volumePluginDir: %[1]s/kubelet-plugins
tlsCertFile: %[1]s/pki/kubelet-server.crt
tlsPrivateKeyFile: %[1]s/pki/kubelet-server.key
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: %[1]s/pki/ca.crt}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs # there may be no systemd
failCgroupV1: false    # the machine may have no other
failSwapOn: false
makeIPTablesUtilChains: false # it would leave chains behind
maxPods: 250
registryPullQPS: 0 # no limit
eventRecordQPS: 0
# Nothing listens there: a name is refused at once, and no event complains about a missing address.
clusterDNS: [%[2]s]
# Neither pods nor images go because the machine's disk is full.
evictionHard: {memory.available: "0%%", nodefs.available: "0%%", nodefs.inodesFree: "0%%", imagefs.available: "0%%"}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
`, c.dir, nodeAddress, c.containerdSocket())
	return component{
		name: "kubelet",
		args: []string{c.kubernetes("kubelet"),
			"--config=" + c.config("kubelet.yaml"),
			"--kubeconfig=" + c.config("kubelet.kubeconfig"),
			"--root-dir=" + c.path("kubelet"),
			"--hostname-override=" + nodeName,
			"--node-ip=" + nodeAddress,
		},
		files:   map[string]string{c.config("kubelet.yaml"): config},
		answers: healthy("http://127.0.0.1:10248/healthz"),
	}
}

func (c *cluster) proxy() component {
	config := fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables # one table, gone with one command
clientConnection: {kubeconfig: %s}
hostnameOverride: %s
clusterCIDR: %s
bindAddress: %[4]s
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
# So that it writes no sysctl.
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`, c.config("kube-proxy.kubeconfig"), nodeName, podRange, nodeAddress)
	return component{
		name:    "kube-proxy",
		args:    []string{c.kubernetes("kube-proxy"), "--config=" + c.config("kube-proxy.yaml")},
		files:   map[string]string{c.config("kube-proxy.yaml"): config},
		answers: healthy("http://127.0.0.1:10256/healthz"),
	}
}
