#!/usr/bin/env bash
# The server's side of the three examples: a secret, a policy that reads it, and a role for the pods' service account.
# Works the same with OpenBao (bao) and Vault (BAO=vault). Needs an address and a token with rights, as bao takes them.
#
#   openbao-setup.sh KUBECONFIG-FILE GITHUB-PAT-FILE [KUBERNETES-API-ADDRESS CA-FILE REVIEWER-TOKEN-FILE]
#
# A server in the same cluster asks that cluster's API server, with its own service account (which needs
# system:auth-delegator). A server elsewhere needs the address, its CA, and a token with that right.
# May be run again: what is enabled already stays.
set -euo pipefail
[[ $# -ge 2 ]] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 64; }
kubeconfig=$1 github_pat=$2
cluster=(kubernetes_host="${3:-https://kubernetes.default.svc}")
if [[ $# -gt 3 ]]; then
    cluster+=(kubernetes_ca_cert=@"$4" token_reviewer_jwt=@"$5" disable_local_ca_jwt=true)
fi
bao=${BAO:-bao}
enable() { # KIND NAME ARGUMENT... (KIND: secrets or auth)
    local kind=$1 name=$2
    shift 2
    "$bao" "$kind" list -format=json | grep -qF "\"$name/\"" || "$bao" "$kind" enable -path="$name" "$@"
}

# 1. ARC runners: arc-scale-set-values.yaml, and the jobs of arc-kubernetes-mode.yaml
enable secrets arc-runners -version=2 kv
base64 "$kubeconfig" | "$bao" kv put -mount=arc-runners kubeconfig/rancher-cluster config=-

"$bao" policy write arc-runners-kubeconfig - <<'POLICY'
path "arc-runners/data/kubeconfig/*" { capabilities = ["read"] }
POLICY

enable auth my-cluster/arc-runners kubernetes
"$bao" write auth/my-cluster/arc-runners/config "${cluster[@]}"
# The audience is the connection's `auth.audience`: another pod's token for another audience does not log in here.
"$bao" write auth/my-cluster/arc-runners/role/actions \
    bound_service_account_names=arc-runner-set-gha-rs-no-permission,arc-runner-set-jobs \
    bound_service_account_namespaces=arc-runners \
    audience=vault token_policies=arc-runners-kubeconfig token_ttl=20m

# 2. Runners of one's own making: runner-deployment.yaml
enable secrets github -version=2 kv
"$bao" kv put -mount=github runner pat=- <"$github_pat"

"$bao" policy write github-runner - <<'POLICY'
path "github/data/runner" { capabilities = ["read"] }
POLICY

enable auth kubernetes kubernetes
"$bao" write auth/kubernetes/config "${cluster[@]}"
"$bao" write auth/kubernetes/role/github-runner \
    bound_service_account_names=github-runner \
    bound_service_account_namespaces=github-runners \
    audience=vault token_policies=github-runner token_ttl=20m

# 3. An app whose password changes: refreshed-deployment.yaml
enable secrets kvv2 -version=2 kv
"$bao" kv get -mount=kvv2 webapp/config >/dev/null 2>&1 ||
    "$bao" kv put -mount=kvv2 webapp/config username=static-user password="$(head -c 24 /dev/urandom | base64)"

"$bao" policy write webapp - <<'POLICY'
path "kvv2/data/webapp/config" { capabilities = ["read"] }
POLICY

# The sidecar renews its token, and logs in again when that is no longer possible.
enable auth demo-auth-mount kubernetes
"$bao" write auth/demo-auth-mount/config "${cluster[@]}"
"$bao" write auth/demo-auth-mount/role/role1 \
    bound_service_account_names=default \
    bound_service_account_namespaces=app \
    audience=vault token_policies=webapp token_ttl=24h
