{{/* (root, state) -> a worker's pod spec; state is "claim" (a StatefulSet's volumeClaimTemplate) or "scratch" (gone with the pod). */}}
{{- define "entrain.workerPod" -}}
{{- $root := index . 0 -}}
{{- $worker := $root.Values.worker -}}
{{- if and (eq $worker.slotKind "gpu") (ne (int $worker.slots) (int $worker.gpus)) }}
{{- fail (printf "worker.slots (%v) must equal worker.gpus (%v) when worker.slotKind is gpu" $worker.slots $worker.gpus) }}
{{- end }}
{{- if and (eq $worker.slotKind "cpu") (gt (int $worker.gpus) 0) }}
{{- fail "worker.gpus is set but worker.slotKind is cpu: the GPUs would lie idle" }}
{{- end }}
automountServiceAccountToken: false
{{ include "entrain.podSecurity" $root }}
serviceAccountName: {{ include "entrain.name" $root }}-worker
# The kubelet's patience: longer than the drain, or a gang loses the steps since its last checkpoint.
terminationGracePeriodSeconds: {{ add (int $worker.drainSeconds) 30 }}
{{- with $worker.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $worker.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: worker
    image: {{ include "entrain.image" (list $root $worker.repository) }}
    imagePullPolicy: {{ $root.Values.image.pullPolicy }}
    args:
      - --coordinator={{ include "entrain.coordinatorHost" $root }}:7070
      - --dir=/var/lib/entrain
      {{- if $root.Values.artifacts.shared }}
      - --artifacts=/srv/entrain
      {{- end }}
      - --name=$(POD_NAME)
      - --slot-kind={{ $worker.slotKind }}
      - --slots={{ $worker.slots }}
      - --dataset-cache-bytes={{ int64 $worker.datasetCacheSize }}
      - --drain-limit-ms={{ mul (int $worker.drainSeconds) 1000 }}
      - --metrics=0.0.0.0:9465
      # The pod's name in its headless service: what the other workers of a gang dial, and what its certificate names.
      - --peer-listen=0.0.0.0:7071
      {{- if eq (index . 1) "claim" }}
      - --peer-address=$(POD_NAME).{{ include "entrain.name" $root }}-worker.{{ $root.Release.Namespace }}.svc:7071
      {{- else }}
      - --peer-address=$(JOBSET_NAME)-worker-0-$(POD_INDEX).{{ include "entrain.name" $root }}-worker.{{ $root.Release.Namespace }}.svc:7071
      {{- end }}
      {{- include "entrain.tlsArguments" $root | nindent 6 }}
    env:
      - name: POD_NAME
        valueFrom: {fieldRef: {fieldPath: metadata.name}}
      {{- if eq $root.Values.logFormat "json" }}
      - {name: ENTRAIN_LOG, value: json}
      {{- end }}
      {{- if ne (index . 1) "claim" }}
      - name: JOBSET_NAME
        valueFrom: {fieldRef: {fieldPath: "metadata.labels['jobset.sigs.k8s.io/jobset-name']"}}
      - name: POD_INDEX
        valueFrom: {fieldRef: {fieldPath: "metadata.annotations['batch.kubernetes.io/job-completion-index']"}}
      {{- end }}
    ports:
      - {name: metrics, containerPort: 9465, protocol: TCP}
      - {name: peer, containerPort: 7071, protocol: TCP}
    resources:
      requests: {{- toYaml $worker.resources.requests | nindent 8 }}
      limits:
        {{- toYaml $worker.resources.limits | nindent 8 }}
        {{- if gt (int $worker.gpus) 0 }}
        nvidia.com/gpu: {{ $worker.gpus }}
        {{- end }}
    lifecycle:
      # Stops every gang at a checkpoint and returns when all is reported; the SIGTERM that follows changes nothing.
      preStop: {exec: {command: [/opt/entrain/bin/worker-init, --drain]}}
    startupProbe:
      httpGet: {path: /healthz, port: metrics}
      periodSeconds: 2
      failureThreshold: 60
    readinessProbe:
      httpGet: {path: /healthz, port: metrics}
      periodSeconds: 10
    # The init restarts a daemon that died while its gangs train on; killing the container would end them. So the kubelet acts only
    # after the time for which gangs run without a daemon anyway (--daemon-absence-limit-ms, 10 minutes).
    livenessProbe:
      httpGet: {path: /healthz, port: metrics}
      periodSeconds: 30
      timeoutSeconds: 5
      failureThreshold: 24
    {{- include "entrain.containerSecurity" $root | nindent 4 }}
    volumeMounts:
      - {name: state, mountPath: /var/lib/entrain}
      {{- if $root.Values.artifacts.shared }}
      - {name: artifacts, mountPath: /srv/entrain}
      {{- end }}
      - {name: tls, mountPath: /etc/entrain/tls, readOnly: true}
      - {name: shared-memory, mountPath: /dev/shm}
      - {name: temporary, mountPath: /tmp}
volumes:
  {{- include "entrain.tlsVolume" (include "entrain.workerSecret" $root) | nindent 2 }}
  {{- if $root.Values.artifacts.shared }}
  {{- include "entrain.artifactsVolume" $root | nindent 2 }}
  {{- end }}
  - name: shared-memory
    emptyDir: {medium: Memory, sizeLimit: {{ $worker.sharedMemory }}}
  - name: temporary
    emptyDir: {sizeLimit: 1Gi}
  {{- if eq (index . 1) "scratch" }}
  - name: state
    emptyDir: {sizeLimit: {{ $worker.storage.size }}}
  {{- end }}
{{- end -}}
