// Keys and certificates: two authorities (Kubernetes', OpenBao's) and what they sign. They last ten years and are made
// once for a state directory.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Who a certificate is for: an empty list of hosts makes a client's, a nil signer an authority.
type subject struct {
	file         string
	name         string
	organisation string
	hosts        []string
}

type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func (c *cluster) pki(file string) string { return filepath.Join(c.dir, "pki", file) }

func (c *cluster) makePKI() error {
	if err := os.MkdirAll(c.pki(""), 0o700); err != nil {
		return err
	}
	if len(c.openbaos()) > 0 {
		bao, err := c.authority("openbao-ca", "podkey-e2e-openbao")
		if err != nil {
			return err
		}
		if err := c.certificate(bao, subject{"openbao", "openbao", "", []string{"openbao", "localhost", "127.0.0.1", nodeAddress}}); err != nil {
			return err
		}
	}
	if len(c.Raft) > 0 {
		return nil
	}
	ca, err := c.authority("ca", "podkey-e2e-kubernetes")
	if err != nil {
		return err
	}
	server := []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc",
		"kubernetes.default.svc.cluster.local", "localhost", "127.0.0.1", serviceAddress, c.address}
	subjects := []subject{
		{"apiserver", "kube-apiserver", "", server},
		{"admin", "podkey-e2e-admin", "system:masters", nil},
	}
	if c.node {
		subjects = append(subjects,
			subject{"apiserver-kubelet", "kube-apiserver-kubelet-client", "system:masters", nil},
			subject{"kubelet", "system:node:" + nodeName, "system:nodes", nil},
			subject{"kubelet-server", nodeName, "", []string{nodeName, nodeAddress}},
			subject{"kube-controller-manager", "system:kube-controller-manager", "", nil},
			subject{"kube-scheduler", "system:kube-scheduler", "", nil},
			subject{"kube-proxy", "system:kube-proxy", "", nil})
	}
	for _, s := range subjects {
		if err := c.certificate(ca, s); err != nil {
			return err
		}
	}
	// What service accounts' tokens are signed with: no certificate is wanted, only the key.
	if _, err := os.Stat(c.pki("service-account.key")); err == nil {
		return nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	return writeKey(c.pki("service-account.key"), key)
}

func (c *cluster) authority(file, name string) (*authority, error) {
	if err := c.certificate(nil, subject{file, name, "", nil}); err != nil {
		return nil, err
	}
	certificate, err := readPEM(c.pki(file + ".crt"))
	if err != nil {
		return nil, err
	}
	key, err := readPEM(c.pki(file + ".key"))
	if err != nil {
		return nil, err
	}
	a := &authority{}
	if a.certificate, err = x509.ParseCertificate(certificate); err != nil {
		return nil, err
	}
	a.key, err = x509.ParseECPrivateKey(key)
	return a, err
}

func (c *cluster) certificate(signer *authority, s subject) error {
	certificatePath, keyPath := c.pki(s.file+".crt"), c.pki(s.file+".key")
	if _, err := os.Stat(certificatePath); err == nil {
		return nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: s.name},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().AddDate(10, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	if s.organisation != "" {
		template.Subject.Organization = []string{s.organisation}
	}
	for _, host := range s.hosts {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	if signer == nil {
		template.IsCA, template.KeyUsage, template.ExtKeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign, nil
		signer = &authority{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer.certificate, &key.PublicKey, signer.key)
	if err != nil {
		return err
	}
	// The key first: whoever finds the certificate finds both.
	if err := writeKey(keyPath, key); err != nil {
		return err
	}
	return os.WriteFile(certificatePath, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}

func readPEM(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s is not PEM", path)
	}
	return block.Bytes, nil
}

// A kubeconfig with everything in it, so that it can be taken elsewhere.
func (c *cluster) kubeconfig(user string) (string, error) {
	var data [3]string
	for i, file := range []string{"ca.crt", user + ".crt", user + ".key"} {
		text, err := os.ReadFile(c.pki(file))
		if err != nil {
			return "", err
		}
		data[i] = base64.StdEncoding.EncodeToString(text)
	}
	return fmt.Sprintf(`apiVersion: v1
kind: Config
clusters:
- name: %[1]s
  cluster:
    server: %[2]s
    certificate-authority-data: %[3]s
users:
- name: %[6]s
  user:
    client-certificate-data: %[4]s
    client-key-data: %[5]s
contexts:
- name: %[1]s
  context: {cluster: %[1]s, user: %[6]s}
current-context: %[1]s
`, "podkey-e2e-"+c.name, c.server(), data[0], data[1], data[2], user), nil
}
