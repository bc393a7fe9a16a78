{{/* Names and labels. */}}

{{- define "motet.name" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* The labels that select the pods of the release. */}}
{{- define "motet.releaseLabels" -}}
app.kubernetes.io/name: motet
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The labels that select the pods of a component. Takes root and name. */}}
{{- define "motet.selectorLabels" -}}
{{ include "motet.releaseLabels" .root }}
app.kubernetes.io/component: {{ .name }}
{{- end -}}

{{/* The metadata of an object of a component. Takes root, name, and optionally suffix and annotations. */}}
{{- define "motet.metadata" -}}
name: {{ include "motet.name" .root }}-{{ .name }}{{ with .suffix }}-{{ . }}{{ end }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "motet.selectorLabels" . | nindent 2 }}
  app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ .root.Release.Service }}
  helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- with .annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The reference of an image. Takes root and image. */}}
{{- define "motet.image" -}}
{{- with .root.Values.images.registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- .image.repository -}}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ .root.Values.images.tag | default .root.Chart.AppVersion }}{{ end -}}
{{- end -}}

{{/* The DNS name of a component's pods inside the cluster. Takes root and name. */}}
{{- define "motet.host" -}}
{{ include "motet.name" .root }}-{{ .name }}.{{ .root.Release.Namespace }}.svc
{{- end -}}
