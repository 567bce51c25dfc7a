{{- define "foldhouse.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "foldhouse.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "foldhouse.claim" -}}
{{ .Values.storage.existingClaim | default (printf "%s-files" .Release.Name) }}
{{- end }}

{{/* What every pod has. The data folder is the pod's own: it holds locks and scratch files. */}}
{{- define "foldhouse.pod" -}}
automountServiceAccountToken: false
{{- with .Values.images.pullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
volumes:
  - name: data
    emptyDir: {}
  - name: tmp
    emptyDir: {}
{{- end }}

{{/* One more volume, and where it is. The migration runs before there is a claim, and needs none. */}}
{{- define "foldhouse.volume" -}}
{{- if not .Values.storage.s3 -}}
- name: files
  persistentVolumeClaim: {claimName: {{ include "foldhouse.claim" . }}}
{{- end }}
{{- end }}

{{- define "foldhouse.mount" -}}
{{- if not .Values.storage.s3 -}}
- {name: files, mountPath: /files}
{{- end }}
{{- end }}

{{/* What every container has. */}}
{{- define "foldhouse.container" -}}
imagePullPolicy: {{ .Values.images.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
envFrom:
  - secretRef:
      name: {{ required "secret: name a Secret that has FOLDHOUSE_DATABASE_URL and FOLDHOUSE_BROKER_URL" .Values.secret }}
volumeMounts:
  - {name: data, mountPath: /data}
  - {name: tmp, mountPath: /tmp}
{{- end }}

{{- define "foldhouse.env" -}}
- name: FOLDHOUSE_DATA_DIR
  value: /data
- name: FOLDHOUSE_STORAGE_URL
  value: {{ .Values.storage.s3 | default "/files" }}
{{- range $name, $value := .Values.settings }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
