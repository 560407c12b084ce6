{{- define "ascend-jobs.name" -}}
{{ default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- /* Stem of all names: the release's name, with the chart's name unless it holds it already. */ -}}
{{- define "ascend-jobs.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "ascend-jobs.name" .) .Release.Name -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name (include "ascend-jobs.name" .) | trunc 50 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{- define "ascend-jobs.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ include "ascend-jobs.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /* Labels that a selector may use: they never change. Call with (dict "root" $ "component" "operator"). */ -}}
{{- define "ascend-jobs.selector" -}}
app.kubernetes.io/name: {{ include "ascend-jobs.name" .root | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "ascend-jobs.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "ascend-jobs.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ required "serviceAccount.name is needed when serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end -}}
{{- end }}

{{- /* Whole image reference of images.<which>. Call with (dict "root" $ "which" "operator").
A first part with a dot or colon is a host, a last part with a colon has a tag; @ is a digest. */ -}}
{{- define "ascend-jobs.image" -}}
{{- $images := .root.Values.images -}}
{{- $image := index $images .which -}}
{{- $first := first (splitList "/" $image) -}}
{{- $hasHost := and (contains "/" $image) (or (contains "." $first) (contains ":" $first) (eq $first "localhost")) -}}
{{- if and $images.registry (not $hasHost) -}}{{ trimSuffix "/" $images.registry }}/{{- end -}}
{{ $image }}
{{- if not (or (contains "@" $image) (contains ":" (last (splitList "/" $image)))) -}}
:{{ default .root.Chart.AppVersion $images.tag }}
{{- end -}}
{{- end }}

{{- define "ascend-jobs.pullSecrets" -}}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Fields of a pod spec that say where it runs. Call with .Values.operator or .Values.emulator. */ -}}
{{- define "ascend-jobs.placement" -}}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Environment of the operator; the names are those of operator/ascend_jobs/settings.py. */ -}}
{{- define "ascend-jobs.operatorEnv" -}}
- name: ASCENDJOBS_OWN_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: ASCENDJOBS_IDENTITY
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: ASCENDJOBS_LEASE_NAME
  value: {{ include "ascend-jobs.fullname" . | quote }}
- name: ASCENDJOBS_NAMESPACES
  value: {{ join "," .Values.watchNamespaces | quote }}
- name: ASCENDJOBS_WORKERS
  value: {{ .Values.operator.workers | quote }}
- name: ASCENDJOBS_LOG_LEVEL
  value: {{ .Values.operator.logLevel }}
- name: ASCENDJOBS_PORT
  value: {{ .Values.metrics.port | quote }}
- name: ASCENDJOBS_IMAGE
  value: {{ include "ascend-jobs.image" (dict "root" . "which" "runtime") }}
- name: ASCENDJOBS_PREPARE_IMAGE
  value: {{ include "ascend-jobs.image" (dict "root" . "which" "prepare") }}
{{- if .Values.images.serve }}
- name: ASCENDJOBS_SERVE_IMAGE
  value: {{ include "ascend-jobs.image" (dict "root" . "which" "serve") }}
{{- end }}
{{- if .Values.images.proxy }}
- name: ASCENDJOBS_PROXY_IMAGE
  value: {{ include "ascend-jobs.image" (dict "root" . "which" "proxy") }}
{{- end }}
- name: ASCENDJOBS_ENGINE
  value: {{ .Values.operator.engine }}
- name: ASCENDJOBS_PULL_POLICY
  value: {{ .Values.images.pullPolicy }}
- name: ASCENDJOBS_PULL_SECRETS
  value: {{ join "," .Values.images.pullSecrets | quote }}
{{- with .Values.operator.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}
