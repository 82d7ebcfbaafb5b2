#!/usr/bin/env bash
# A certificate authority and a certificate for trying the chart's `tls.mode: files`. Not for production: the CA's key
# stays in a file, and nothing renews the certificate, which is good for 90 days. Needs openssl.
#
#   certs/dev-certs.sh [DIR]      DIR: where ca.crt, ca.key, tls.crt, tls.key go (certs/out)
#
# Prints the commands that put them into the cluster. A CA already in DIR is used again.
set -euo pipefail
umask 077

dir=${1:-$(dirname "$0")/out}
mkdir -p "$dir"
service=podkey.podkey.svc

cat >"$dir/openssl.cnf" <<CONFIG
[req]
distinguished_name = name
prompt = no
[name]
CN = podkey
[ca]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:$service, DNS:$service.cluster.local
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
CONFIG
trap 'rm -f "$dir/openssl.cnf" "$dir/tls.csr"' EXIT

key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }

if [[ -e $dir/ca.crt && ! -e $dir/ca.key ]]; then
    echo "$dir/ca.crt is there without its ca.key: bring the key, or remove ca.crt for a new CA" >&2
    exit 1
fi
if [[ ! -e $dir/ca.crt ]]; then
    key "$dir/ca.key"
    openssl req -x509 -new -sha256 -days 365 -key "$dir/ca.key" -subj "/CN=podkey development CA" \
        -config "$dir/openssl.cnf" -extensions ca -out "$dir/ca.crt"
fi
key "$dir/tls.key"
openssl req -new -key "$dir/tls.key" -subj "/CN=$service" -config "$dir/openssl.cnf" -out "$dir/tls.csr"
openssl x509 -req -sha256 -days 90 -in "$dir/tls.csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" \
    -set_serial "0x$(openssl rand -hex 16)" -extfile "$dir/openssl.cnf" -extensions server -out "$dir/tls.crt" 2>/dev/null
openssl verify -CAfile "$dir/ca.crt" -purpose sslserver -verify_hostname "$service" "$dir/tls.crt" >/dev/null

cat <<COMMANDS
# Where the namespace is not there yet: kubectl create namespace podkey
kubectl create secret tls podkey-tls --namespace podkey --cert=${dir@Q}/tls.crt --key=${dir@Q}/tls.key
helm upgrade --install podkey manifests/chart --namespace podkey --values YOUR-VALUES.yaml \\
  --set tls.mode=files --set-file tls.files.caBundle=${dir@Q}/ca.crt
# Helm 4, and the release had tls.mode self before: add --force-conflicts
COMMANDS
