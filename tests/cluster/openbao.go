// OpenBao as it runs in earnest: initialised, unsealed, its data on disk, its own CA. The node has one; three on one raft
// are a cluster by themselves.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
)

// One server. Its address is the node's, which pods reach.
type openbao struct {
	*cluster
	name           string // its component, and it in its raft
	port, peerPort int    // for clients, and for the others of its raft
	joins          string // the URL of the one that it joins; none: it is the first
	more           string // of its configuration
}

func (c *cluster) openbaos() (servers []openbao) {
	if c.node {
		return []openbao{{cluster: c, name: "openbao", port: 8200, peerPort: 8202, more: fmt.Sprintf(`
# For those who terminate TLS elsewhere: podkey must be told to accept it.
listener "tcp" {
  address         = "%[1]s:8201"
  cluster_address = "%[1]s:8203"
  tls_disable     = true
}
`, nodeAddress)}}
	}
	for i, ports := range c.Raft {
		server := openbao{cluster: c, name: fmt.Sprint("openbao-", i+1), port: ports[0], peerPort: ports[1]}
		if i > 0 {
			server.joins = servers[0].url()
		}
		servers = append(servers, server)
	}
	return servers
}

func (b openbao) url() string  { return fmt.Sprintf("https://%s:%d", nodeAddress, b.port) }
func (b openbao) data() string { return b.path("openbao", b.name) }

func (b openbao) component() component {
	join := ""
	if b.joins != "" {
		join = fmt.Sprintf("retry_join {\n    leader_api_addr = %q\n    leader_ca_cert_file = %q\n  }", b.joins, b.pki("openbao-ca.crt"))
	}
	file := b.config(b.name + ".hcl")
	config := fmt.Sprintf(`# With the multiplier one leads at once after a restart.
storage "raft" {
  path                   = "%[1]s"
  node_id                = "%[2]s"
  performance_multiplier = 1
  %[3]s
}
listener "tcp" {
  address         = "%[4]s:%[5]d"
  cluster_address = "%[4]s:%[6]d"
  tls_cert_file   = "%[7]s"
  tls_key_file    = "%[8]s"
}
%[9]s
api_addr     = "%[10]s"
cluster_addr = "https://%[4]s:%[6]d"
# No value in it: log_raw is off.
audit "file" "file" {
  options {
    file_path = "%[11]s"
  }
}
`, b.data(), b.name, join, nodeAddress, b.port, b.peerPort, b.pki("openbao.crt"), b.pki("openbao.key"), b.more, b.url(), b.audit())
	return component{
		name:     b.name,
		args:     []string{filepath.Join(b.tools, "bin/bao"), "server", "-config=" + file},
		own:      "-config=" + file,
		files:    map[string]string{file: config},
		answers:  b.unsealed,
		unusable: b.sealed,
	}
}

// One for all of a raft: each insists on the path that the others have.
func (b openbao) audit() string { return b.path("logs", "openbao-audit.log") }

// Brings it as far as it does its work: made ready on its first start, unsealed on each.
func (b openbao) unsealed(ctx context.Context) error {
	status, err := b.health(ctx)
	switch {
	case err != nil:
		return err
	case status == http.StatusOK, status == http.StatusTooManyRequests: // it leads, or passes on to the one that does
		return nil
	case status == http.StatusNotImplemented && b.joins != "":
		return errors.New("it has not joined the first")
	case status == http.StatusNotImplemented:
		return b.initialise(ctx)
	case status != http.StatusServiceUnavailable:
		return fmt.Errorf("its health is %d", status)
	}
	key, err := os.ReadFile(b.path("openbao", "unseal-key"))
	if err != nil {
		return fatal{fmt.Errorf("it is sealed, and its key is lost (bring the cluster down and up): %w", err)}
	}
	if _, err = b.put(ctx, "/v1/sys/unseal", fmt.Sprintf(`{"key":%q}`, key)); err != nil {
		return err
	}
	return errors.New("it was just unsealed")
}

func (b openbao) sealed(ctx context.Context) error {
	status, err := b.health(ctx)
	if err == nil && status != http.StatusServiceUnavailable {
		err = fmt.Errorf("its health is %d", status)
	}
	return err
}

func (b openbao) initialise(ctx context.Context) error {
	body, err := b.put(ctx, "/v1/sys/init", `{"secret_shares":1,"secret_threshold":1}`)
	if err != nil {
		return err
	}
	var answer struct {
		Keys      []string `json:"keys"`
		RootToken string   `json:"root_token"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || len(answer.Keys) != 1 {
		return fatal{errors.New("it answers to init with something else than one key")}
	}
	for file, secret := range map[string]string{"unseal-key": answer.Keys[0], "root-token": answer.RootToken} {
		if err := os.WriteFile(b.path("openbao", file), []byte(secret), 0o600); err != nil {
			return fatal{err}
		}
	}
	return errors.New("it was just initialised")
}

func (b openbao) health(ctx context.Context) (int, error) {
	client, err := trusting(b.pki("openbao-ca.crt"))
	if err != nil {
		return 0, err
	}
	status, _, err := request(ctx, client, http.MethodGet, b.url()+"/v1/sys/health", "")
	return status, err
}

func (b openbao) put(ctx context.Context, path, body string) ([]byte, error) {
	client, err := trusting(b.pki("openbao-ca.crt"))
	if err != nil {
		return nil, err
	}
	status, answer, err := request(ctx, client, http.MethodPut, b.url()+path, body)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("PUT %s: %d", path, status) // not the body: it may hold a key
	}
	return answer, err
}
