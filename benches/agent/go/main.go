// What the agent is measured against: the same three requests (login, read, revoke) and one file, in Go with nothing but
// its standard library.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

type answer struct {
	Auth struct {
		ClientToken string `json:"client_token"`
	} `json:"auth"`
	Data struct {
		Data map[string]string `json:"data"`
	} `json:"data"`
}

type vault struct {
	address string
	client  *http.Client
	token   string
}

func (v *vault) call(method, path string, body []byte) (*answer, error) {
	request, err := http.NewRequest(method, v.address+"/v1/"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("X-Vault-Request", "true")
	if v.token != "" {
		request.Header.Set("X-Vault-Token", v.token)
	}
	response, err := v.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode >= 300 {
		return nil, fmt.Errorf("%s %s: %d %s", method, path, response.StatusCode, text)
	}
	var parsed answer
	if len(text) > 0 {
		err = json.Unmarshal(text, &parsed)
	}
	return &parsed, err
}

// Arguments: address, CA file, token file, auth mount, role, secret, key, file.
func run(args []string) error {
	if len(args) != 8 {
		return fmt.Errorf("8 arguments are needed")
	}
	address, caFile, tokenFile, mount, role, secret, key, file := args[0], args[1], args[2], args[3], args[4], args[5], args[6], args[7]
	ca, err := os.ReadFile(caFile)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return fmt.Errorf("%s holds no certificate", caFile)
	}
	jwt, err := os.ReadFile(tokenFile)
	if err != nil {
		return err
	}
	v := &vault{address: address, client: &http.Client{
		Timeout:   time.Minute,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}},
	}}
	body, err := json.Marshal(map[string]string{"role": role, "jwt": string(bytes.TrimSpace(jwt))})
	if err != nil {
		return err
	}
	login, err := v.call(http.MethodPost, "auth/"+mount+"/login", body)
	if err != nil {
		return err
	}
	v.token = login.Auth.ClientToken
	read, err := v.call(http.MethodGet, secret, nil)
	if err != nil {
		return err
	}
	value, err := base64.StdEncoding.DecodeString(read.Data.Data[key])
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", value, 0o400); err != nil {
		return err
	}
	if err := os.Rename(file+".new", file); err != nil {
		return err
	}
	_, err = v.call(http.MethodPost, "auth/token/revoke-self", nil)
	return err
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
