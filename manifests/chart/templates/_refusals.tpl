{{/*
Values that are right one by one and wrong together: each is refused with words, because Kubernetes or podkey would say so later, or never.
*/}}
{{- define "podkey.refusals" -}}
{{- $tls := .Values.tls -}}
{{- if eq (toString .Values.enabled) "false" -}}
{{- fail "enabled is false: that is for a chart that has podkey among its dependencies with `condition: podkey.enabled`. To remove podkey, run helm uninstall" -}}
{{- end -}}
{{- if eq (int .Values.webhook.port) (int .Values.metrics.port) -}}
{{- fail (printf "webhook.port and metrics.port are both %d: give one of them another number" (int .Values.metrics.port)) -}}
{{- end -}}
{{- if and (ne $tls.mode "files") (or $tls.files.existingSecret $tls.files.caBundle) -}}
{{- fail (printf "tls.files has a value, and tls.mode is %s: write tls.mode files, or leave tls.files.existingSecret and tls.files.caBundle empty" $tls.mode) -}}
{{- end -}}
{{- if and (ne $tls.mode "cert-manager") $tls.certManager.issuerRef -}}
{{- fail (printf "tls.certManager.issuerRef has a value, and tls.mode is %s: write tls.mode cert-manager, or leave tls.certManager.issuerRef empty" $tls.mode) -}}
{{- end -}}
{{- if and (eq $tls.mode "self") (eq (toString .Values.serviceAccount.name) "default") -}}
{{- fail "serviceAccount.name is default, and tls.mode is self: every pod of the namespace that names no account could patch the webhook configuration. Name an account of podkey's own" -}}
{{- end -}}
{{- range .Values.extraArgs -}}
{{- if regexMatch "^--grace(=|$)" . -}}
{{- fail (printf "extraArgs has %s: write webhook.gracePeriodSeconds, which gives the pods the time for it too" .) -}}
{{- end -}}
{{- if regexMatch "^--(config|listen|admin-listen|service|namespace|tls-secret|webhook-configuration|tls-cert|tls-key|log-format)(=|$)" . -}}
{{- fail (printf "extraArgs has %s, an option that the chart sets itself: remove it" .) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The same for the operator's config. */}}
{{- define "podkey.configRefusals" -}}
{{- $connections := required "config.connections is empty: name a server, such as config.connections.default.address=https://vault.vault.svc:8200" .Values.config.connections | default dict -}}
{{- $mounted := "/etc/podkey/vault-ca.pem" -}}
{{- $named := false -}}
{{- range $name, $connection := $connections -}}
{{- $file := $connection.caFile | default "" -}}
{{- if eq $file $mounted -}}
{{- $named = true -}}
{{- else if hasPrefix "/etc/podkey/" $file -}}
{{- fail (printf "config.connections.%s.caFile is %s, a file that the chart does not mount: write %s, and the certificates into vaultCa" $name $file $mounted) -}}
{{- end -}}
{{- end -}}
{{- if ne $named (not (empty .Values.vaultCa)) -}}
{{- fail "vaultCa is the file /etc/podkey/vault-ca.pem: give both, vaultCa and a connection whose caFile names that file, or neither" -}}
{{- end -}}
{{- with .Values.vaultK8s -}}
{{- if and .enabled (not (hasKey $connections (.connection | default "default"))) -}}
{{- fail (printf "vaultK8s.connection is %s, which config.connections does not have: name one of %s" (.connection | default "default") (keys $connections | sortAlpha | join ", ")) -}}
{{- end -}}
{{- end -}}
{{- end }}
