{{/* Names, labels and images that several templates share, and the operator's config. */}}

{{- define "podkey.name" -}}
{{ .Values.fullnameOverride | default "podkey" }}
{{- end }}

{{/* For what has no namespace. Two releases in two namespaces have two names: no namespace has a dot in its name. */}}
{{- define "podkey.clusterName" -}}
{{- $name := include "podkey.name" . -}}
{{ eq $name .Release.Namespace | ternary $name (printf "%s.%s" $name .Release.Namespace) }}
{{- end }}

{{- define "podkey.labels" -}}
app.kubernetes.io/name: podkey
app.kubernetes.io/instance: {{ toYaml .Release.Name }}
{{- end }}

{{/* The Secret with tls.crt and tls.key, where podkey reads files. */}}
{{- define "podkey.tlsSecret" -}}
{{- $given := eq .Values.tls.mode "files" | ternary .Values.tls.files.existingSecret "" -}}
{{ $given | default (printf "%s-tls" (include "podkey.name" .)) }}
{{- end }}

{{/* Of an image and the chart: REPOSITORY@DIGEST or REPOSITORY:TAG. */}}
{{- define "podkey.imageOf" -}}
{{- $image := index . 0 -}}
{{- $repository := required "image.repository is empty: name the image that you built and pushed, such as registry.example.com/podkey" $image.repository -}}
{{- if $image.digest -}}
{{ $repository }}@{{ $image.digest }}
{{- else -}}
{{ $repository }}:{{ $image.tag | default (index . 1).AppVersion }}
{{- end -}}
{{- end }}

{{/* The operator's config file. */}}
{{- define "podkey.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $agent := $config.agent | default dict -}}
{{- if not $agent.image -}}
{{- $image := .Values.agentImage -}}
{{- if not $image.repository }}{{ $image = .Values.image }}{{ end -}}
{{- $_ := set $agent "image" (include "podkey.imageOf" (list $image .Chart)) -}}
{{- end -}}
{{- $_ := set $config "agent" $agent -}}
{{- with .Values.vaultK8s -}}
{{- if .enabled -}}
{{- $_ := set $config "vaultK8s" (omit . "enabled" "namespaceSelector") -}}
{{- end -}}
{{- end -}}
{{- $connections := required "config.connections is empty: name a server, such as config.connections.default.address=https://vault.vault.svc:8200" $config.connections -}}
{{- $named := contains "/etc/podkey/vault-ca.pem" (toYaml $connections) -}}
{{- if ne $named (not (empty .Values.vaultCa)) -}}
{{- fail "vaultCa is the file /etc/podkey/vault-ca.pem: give both, vaultCa and a connection whose caFile names that file, or neither" -}}
{{- end -}}
{{ toYaml $config }}
{{- end }}
