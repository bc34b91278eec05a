{{- define "tollgate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 40 characters: names of pods and of revisions come behind it. */}}
{{- define "tollgate.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "tollgate.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "tollgate.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "tollgate.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* Called with (dict "root" $ "component" "gateway"), like all that follow. */}}
{{- define "tollgate.selector" -}}
app.kubernetes.io/name: {{ include "tollgate.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "tollgate.labels" -}}
{{ include "tollgate.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "tollgate.podMetadata" -}}
labels:
  {{- include "tollgate.labels" . | nindent 2 }}
  {{- with .root.Values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .root.Values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "tollgate.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "tollgate.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* Of a pod: who it is, and that it knows nothing of the cluster. */}}
{{- define "tollgate.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "tollgate.placement" -}}
{{- with .root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Of a container: image, rights, settings, secrets. */}}
{{- define "tollgate.container" -}}
image: {{ include "tollgate.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
env:
  - name: TOLLGATE_TASKS
    value: {{ ternary "celery" "embedded" .root.Values.worker.enabled }}
  - name: TOLLGATE_DRAIN_SECONDS
    value: {{ .root.Values.drainSeconds | quote }}
  {{- if and .root.Values.metrics.enabled (has .component (list "gateway" "worker")) }}
  - name: TOLLGATE_METRICS_PORT
    value: {{ .root.Values.metrics.port | quote }}
  - name: TOLLGATE_METRICS_HOST
    value: {{ .root.Values.listenAddress | quote }}
  {{- end }}
  {{- range .root.Values.secretNames }}
  - name: {{ . }}_FILE
    value: /run/secrets/tollgate/{{ . }}
  {{- end }}
  {{- range $name, $value := .root.Values.config }}
  - name: {{ $name }}
    value: {{ $value | quote }}
  {{- end }}
volumeMounts:
  - {name: secrets, mountPath: /run/secrets/tollgate, readOnly: true}
  - {name: data, mountPath: /var/lib/tollgate}
  - {name: temporary, mountPath: /tmp}
{{- end -}}

{{- define "tollgate.volumes" -}}
- name: secrets
  secret:
    secretName: {{ .root.Values.existingSecret }}
    defaultMode: 0440
    items:
      {{- range .root.Values.secretNames }}
      - {key: {{ . }}, path: {{ . }}}
      {{- end }}
- name: temporary
  emptyDir: {sizeLimit: 1Gi}
{{- end -}}

{{/* Called with (dict "root" $ "component" … "persistence" …). */}}
{{- define "tollgate.claim" -}}
- apiVersion: v1
  kind: PersistentVolumeClaim
  metadata:
    name: data
    labels:
      {{- include "tollgate.selector" . | nindent 6 }}
  spec:
    accessModes: [ReadWriteOnce]
    {{- with .persistence.storageClass }}
    storageClassName: {{ . }}
    {{- end }}
    resources:
      requests:
        storage: {{ .persistence.size }}
{{- end -}}

{{/* The pause, the drain, and 15 seconds for what comes after it: what has not ended is killed, the rest is booked. */}}
{{- define "tollgate.graceSeconds" -}}
{{- add .Values.preStopSeconds .Values.drainSeconds 15 -}}
{{- end -}}
