{{/* What every pod of a release shares: no root, nothing to write but its volumes. */}}
{{- define "entrain.podSecurity" -}}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "entrain.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{- define "entrain.tlsArguments" -}}
- --tls-ca=/etc/entrain/tls/ca.crt
- --tls-cert=/etc/entrain/tls/tls.crt
- --tls-key=/etc/entrain/tls/tls.key
{{- end -}}

{{/* A folder, never a subPath: a renewed certificate reaches the running process only so. */}}
{{- define "entrain.tlsVolume" -}}
- name: tls
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end -}}

{{- define "entrain.artifactsVolume" -}}
- name: artifacts
  persistentVolumeClaim:
    claimName: {{ include "entrain.artifactsClaim" . }}
{{- end -}}
