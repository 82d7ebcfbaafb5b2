{{/* Names, labels and images that several templates share, and the operator's config. */}}

{{- define "podkey.name" -}}
{{ .Values.fullnameOverride | default "podkey" }}
{{- end }}

{{/* For what has no namespace. Two releases in two namespaces have two names: no namespace has a dot in its name. */}}
{{- define "podkey.clusterName" -}}
{{- $name := include "podkey.name" . -}}
{{ eq $name .Release.Namespace | ternary $name (printf "%s.%s" $name .Release.Namespace) }}
{{- end }}

{{/* What selectors go by. They never change: no commonLabels, no version. */}}
{{- define "podkey.selectorLabels" -}}
app.kubernetes.io/name: podkey
app.kubernetes.io/instance: {{ toYaml .Release.Name }}
{{- end }}

{{/* The labels of every object. */}}
{{- define "podkey.labels" -}}
{{ include "podkey.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: podkey
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "podkey.serviceAccountName" -}}
{{- $account := .Values.serviceAccount -}}
{{- if not (or $account.create $account.name) }}
{{- fail "serviceAccount.create is false: name the account that exists in serviceAccount.name" }}
{{- end -}}
{{ $account.name | default (include "podkey.name" .) | toYaml }}
{{- end }}

{{/* The Secret with tls.crt and tls.key, where podkey reads files. */}}
{{- define "podkey.tlsSecret" -}}
{{- $given := eq .Values.tls.mode "files" | ternary .Values.tls.files.existingSecret "" -}}
{{ $given | default (printf "%s-tls" (include "podkey.name" .)) }}
{{- end }}

{{/* Of an image and the chart: REPOSITORY@DIGEST or REPOSITORY:TAG. */}}
{{- define "podkey.imageOf" -}}
{{- $image := index . 0 -}}
{{- $repository := required "image.repository is empty: name an image, such as registry.example.com/podkey" $image.repository -}}
{{- if $image.digest -}}
{{ $repository }}@{{ $image.digest }}
{{- else -}}
{{ $repository }}:{{ $image.tag | default (index . 1).AppVersion }}
{{- end -}}
{{- end }}

{{/*
Which namespaces podkey serves, for a list of selectors that must all hold. Never the release's own, nor those of the cluster's own
parts: they must start while the webhook is down.
*/}}
{{- define "podkey.namespaceSelector" -}}
{{- $labels := dict -}}
{{- range .selectors }}
{{- range $label, $value := .matchLabels | default dict }}
{{- if and (hasKey $labels $label) (ne (get $labels $label) $value) }}
{{- fail (printf "webhook.namespaceSelector and vaultK8s.namespaceSelector both name the label %s, with two values: no namespace has both" $label) }}
{{- end }}
{{- $_ := set $labels $label $value }}
{{- end }}
{{- end -}}
{{- with $labels -}}
matchLabels:
  {{- toYaml . | nindent 2 }}
{{ end -}}
matchExpressions:
  - key: kubernetes.io/metadata.name
    operator: NotIn
    values:
      {{- append .root.Values.webhook.excludedNamespaces .root.Release.Namespace | uniq | toYaml | nindent 6 }}
  {{- range .selectors }}
  {{- with .matchExpressions }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- end }}
{{- end }}

{{/* The names of the guard's policies and bindings, with a blank between them. */}}
{{- define "podkey.guards" -}}
{{- $name := include "podkey.clusterName" . -}}
{{ $name }}-guard{{ if (.Values.vaultK8s).enabled }} {{ $name }}-guard-vault-k8s{{ end }}
{{- end }}

{{/* The agent's image: config.agent.image, else agentImage, else image. */}}
{{- define "podkey.agentImage" -}}
{{- $image := empty .Values.agentImage.repository | ternary .Values.image .Values.agentImage -}}
{{ dig "agent" "image" "" .Values.config | default (include "podkey.imageOf" (list $image .Chart)) }}
{{- end }}

{{/* The operator's config file. */}}
{{- define "podkey.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $agent := $config.agent | default dict -}}
{{- $_ := set $agent "image" (include "podkey.agentImage" .) -}}
{{- $_ := set $config "agent" $agent -}}
{{- with .Values.vaultK8s -}}
{{- if .enabled -}}
{{- $_ := set $config "vaultK8s" (omit . "enabled" "namespaceSelector") -}}
{{- end -}}
{{- end -}}
{{- include "podkey.configRefusals" . -}}
{{ toYaml $config }}
{{- end }}
