{{/* What the coordinator is told of its pool: the ConfigMap's keys. */}}
{{- define "entrain.poolData" -}}
{{- $pool := .Values.pool -}}
{{- $gangs := eq $pool.mode "gangs" -}}
{{- if gt (int $pool.min) (int $pool.max) }}
{{- fail (printf "pool.min (%v) is more than pool.max (%v)" $pool.min $pool.max) }}
{{- end }}
{{- if and $gangs (gt (int $pool.min) 0) }}
{{- fail "pool.min must be 0 with pool.mode gangs: machines come for a waiting gang alone" }}
{{- end }}
{{- if and $pool.queue (not $gangs) }}
{{- fail "pool.queue is only for pool.mode gangs: Kueue admits JobSets" }}
{{- end -}}
pool.yaml: |
  pool: {{ $pool.name | default $pool.mode }}
  provider: kubernetes
  cluster: {{ include "entrain.name" . }}
  kind: {{ .Values.worker.slotKind }}
  slots: {{ .Values.worker.slots }}
  min: {{ $pool.min }}
  max: {{ $pool.max }}
  idle_seconds: {{ $pool.idleSeconds }}
  {{- if $gangs }}
  gang: true
  {{- end }}
  kubernetes:
    {{- if $gangs }}
    jobset: /etc/entrain/pool/jobset.json
    {{- else }}
    workers: {{ include "entrain.name" . }}-worker
    {{- end }}
{{- if $gangs }}
jobset.json: |
  {{- include "entrain.gangJobSet" . | fromYaml | toPrettyJson | nindent 2 }}
{{- end }}
{{- end -}}

{{/*
The machines of one gang; the coordinator adds the name, its labels, the number of machines, and whether Kueue is to release it. The workers
register like any others. Their names are in the workers' headless Service, so that one certificate stands for all of them.
*/}}
{{- define "entrain.gangJobSet" -}}
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata:
  labels:
    {{- include "entrain.labels" . | nindent 4 }}
    {{- with .Values.pool.queue }}
    kueue.x-k8s.io/queue-name: {{ . }}
    {{- end }}
spec:
  network:
    enableDNSHostnames: true
    publishNotReadyAddresses: true
    subdomain: {{ include "entrain.name" . }}-worker
  # A lost machine is the coordinator's affair: it queues the run again.
  failurePolicy:
    maxRestarts: 0
  # One that ended is of no use to anyone.
  ttlSecondsAfterFinished: 60
  replicatedJobs:
    - name: worker
      replicas: 1
      template:
        spec:
          completionMode: Indexed
          backoffLimit: 0
          template:
            metadata:
              labels:
                {{- include "entrain.labels" . | nindent 16 }}
                app.kubernetes.io/component: worker
            spec:
              restartPolicy: Never
              {{- include "entrain.workerPod" (list . "scratch") | nindent 14 }}
{{- end -}}
