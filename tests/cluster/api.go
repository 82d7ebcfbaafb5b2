// The few requests to the API server that bringing up a cluster needs, as its administrator.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

type api struct {
	server string
	client *http.Client
}

func (c *cluster) api() (*api, error) {
	pair, err := tls.LoadX509KeyPair(c.pki("admin.crt"), c.pki("admin.key"))
	if err != nil {
		return nil, err
	}
	client, err := trusting(c.pki("ca.crt"), pair)
	return &api{c.server(), client}, err
}

// A client that trusts this CA alone, and goes through no proxy.
func trusting(caFile string, pairs ...tls.Certificate) (*http.Client, error) {
	ca, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: pairs}}}, nil
}

func (a *api) get(ctx context.Context, path string) ([]byte, error) {
	status, body, err := request(ctx, a.client, http.MethodGet, a.server+path, "")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("GET %s: %d %.300s", path, status, body)
	}
	return body, err
}

// Creates it, unless it is there.
func (a *api) create(ctx context.Context, path, object string) error {
	status, body, err := request(ctx, a.client, http.MethodPost, a.server+path, object)
	if err == nil && status != http.StatusCreated && status != http.StatusConflict {
		err = fmt.Errorf("POST %s: %d %.300s", path, status, body)
	}
	return err
}

func (a *api) nodeReady(ctx context.Context) error {
	body, err := a.get(ctx, "/api/v1/nodes/"+nodeName)
	if err != nil {
		return err
	}
	var node struct {
		Status struct {
			Conditions []struct{ Type, Status, Message string }
		}
	}
	if err := json.Unmarshal(body, &node); err != nil {
		return err
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == "Ready" && condition.Status != "True" {
			return errors.New("the node is not ready: " + condition.Message)
		} else if condition.Type == "Ready" {
			return nil
		}
	}
	return errors.New("the node has no condition Ready yet")
}

func request(ctx context.Context, client *http.Client, method, url, body string) (int, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, text, err
}

// Whether a component's health address says 200. Its certificate may be one it made itself: nothing is told to it.
func healthy(url string) func(context.Context) error {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	return func(ctx context.Context) error {
		status, body, err := request(ctx, client, http.MethodGet, url, "")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("%s: %d %.300s", url, status, body)
		}
		return err
	}
}
