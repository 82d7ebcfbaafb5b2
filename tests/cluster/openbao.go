// OpenBao as it runs in earnest: initialised, unsealed, its data on disk, its own CA.
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

const openbaoURL = "https://" + nodeAddress + ":8200"

func (c *cluster) openbao() component {
	config := fmt.Sprintf(`# A cluster of one. With the multiplier it leads itself at once after a restart.
storage "raft" {
  path                   = "%[1]s/openbao/data"
  node_id                = "one"
  performance_multiplier = 1
}
listener "tcp" {
  address         = "%[2]s:8200"
  cluster_address = "%[2]s:8202"
  tls_cert_file   = "%[1]s/pki/openbao.crt"
  tls_key_file    = "%[1]s/pki/openbao.key"
}
# For those who terminate TLS elsewhere: podkey must be told to accept it.
listener "tcp" {
  address         = "%[2]s:8201"
  cluster_address = "%[2]s:8203"
  tls_disable     = true
}
api_addr     = "%[3]s"
cluster_addr = "https://%[2]s:8202"
# No value in it: log_raw is off.
audit "file" "file" {
  options {
    file_path = "%[1]s/logs/openbao-audit.log"
  }
}
`, c.dir, nodeAddress, openbaoURL)
	return component{
		name:    "openbao",
		args:    []string{filepath.Join(c.tools, "bin/bao"), "server", "-config=" + c.config("openbao.hcl")},
		files:   map[string]string{c.config("openbao.hcl"): config},
		answers: c.openbaoUnsealed,
	}
}

// Brings it as far as it does its work: made ready on its first start, unsealed on each.
func (c *cluster) openbaoUnsealed(ctx context.Context) error {
	status, err := c.openbaoStatus(ctx)
	switch {
	case err != nil:
		return err
	case status == http.StatusOK:
		return nil
	case status == http.StatusNotImplemented:
		return c.openbaoInitialise(ctx)
	case status != http.StatusServiceUnavailable:
		return fmt.Errorf("its health is %d", status)
	}
	key, err := os.ReadFile(c.path("openbao", "unseal-key"))
	if err != nil {
		return fatal{fmt.Errorf("it is sealed, and its key is lost (bring the cluster down and up): %w", err)}
	}
	if _, err = c.openbaoPut(ctx, "/v1/sys/unseal", fmt.Sprintf(`{"key":%q}`, key)); err != nil {
		return err
	}
	return errors.New("it was just unsealed")
}

func (c *cluster) openbaoSealed(ctx context.Context) error {
	status, err := c.openbaoStatus(ctx)
	if err == nil && status != http.StatusServiceUnavailable {
		err = fmt.Errorf("its health is %d", status)
	}
	return err
}

func (c *cluster) openbaoInitialise(ctx context.Context) error {
	body, err := c.openbaoPut(ctx, "/v1/sys/init", `{"secret_shares":1,"secret_threshold":1}`)
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
		if err := os.WriteFile(c.path("openbao", file), []byte(secret), 0o600); err != nil {
			return fatal{err}
		}
	}
	return errors.New("it was just initialised")
}

func (c *cluster) openbaoStatus(ctx context.Context) (int, error) {
	client, err := trusting(c.pki("openbao-ca.crt"))
	if err != nil {
		return 0, err
	}
	status, _, err := request(ctx, client, http.MethodGet, openbaoURL+"/v1/sys/health", "")
	return status, err
}

func (c *cluster) openbaoPut(ctx context.Context, path, body string) ([]byte, error) {
	client, err := trusting(c.pki("openbao-ca.crt"))
	if err != nil {
		return nil, err
	}
	status, answer, err := request(ctx, client, http.MethodPut, openbaoURL+path, body)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("PUT %s: %d", path, status) // not the body: it may hold a key
	}
	return answer, err
}
