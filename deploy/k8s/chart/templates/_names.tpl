{{/* Names and labels of everything in a release. */}}
{{- define "entrain.name" -}}
{{- if contains "entrain" .Release.Name -}}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{- else -}}{{ printf "%s-entrain" .Release.Name | trunc 40 | trimSuffix "-" }}{{- end -}}
{{- end -}}

{{- define "entrain.selector" -}}
app.kubernetes.io/name: entrain
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "entrain.labels" -}}
{{ include "entrain.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* (root, repository) -> the image. */}}
{{- define "entrain.image" -}}
{{- $root := index . 0 -}}
{{- with $root.Values.image.registry }}{{ . }}/{{ end }}{{ index . 1 }}:{{ $root.Values.image.tag | default $root.Chart.AppVersion }}
{{- end -}}

{{/* What the coordinator's certificate names and everyone dials. */}}
{{- define "entrain.coordinatorHost" -}}
{{ include "entrain.name" . }}-coordinator.{{ .Release.Namespace }}.svc
{{- end -}}

{{- define "entrain.coordinatorSecret" -}}
{{- if .Values.tls.certManager.enabled -}}{{ include "entrain.name" . }}-coordinator-tls
{{- else -}}{{ required "tls.coordinatorSecret is needed when tls.certManager.enabled is false: entrain serves no network without TLS" .Values.tls.coordinatorSecret }}{{- end -}}
{{- end -}}

{{- define "entrain.workerSecret" -}}
{{- if .Values.tls.certManager.enabled -}}{{ include "entrain.name" . }}-worker-tls
{{- else -}}{{ required "tls.workerSecret is needed when tls.certManager.enabled is false: entrain serves no network without TLS" .Values.tls.workerSecret }}{{- end -}}
{{- end -}}

{{- define "entrain.artifactsClaim" -}}
{{ .Values.artifacts.existingClaim | default (printf "%s-artifacts" (include "entrain.name" .)) }}
{{- end -}}
