{{/* The groups of Prometheus' rules, from alerts.yaml and the values of prometheusRule. */}}
{{- define "motet.rules" -}}
{{- $values := .Values.prometheusRule -}}
{{- $file := .Files.Get "alerts.yaml" | fromYaml -}}
{{- $selector := $values.selector | default (dict "namespace" .Release.Namespace "app_kubernetes_io_instance" .Release.Name) -}}
{{- $matchers := list -}}
{{- range $label, $value := $selector -}}
  {{- $matchers = append $matchers (printf "%s=%q" $label $value) -}}
{{- end -}}
{{- $tokens := dict
  "MATCHERS" (join "," $matchers)
  "SCALERS" (printf "namespace=%q,horizontalpodautoscaler=~%q" .Release.Namespace (printf "(keda-hpa-)?%s-.*" (include "motet.name" .)))
  "TEXT_SECONDS" (include "motet.bound" $values.objectives.latencySeconds.text)
-}}
{{- $_ := set $tokens "BUCKETS" (include "motet.buckets" $values.objectives.latencySeconds) -}}
{{- $names := list -}}
groups:
  - name: motet-indicators
    rules:
      {{- range $indicator := $file.indicators }}
      {{- range $window := $file.windows }}
      - record: {{ $indicator.record }}{{ $window }}
        expr: |-
          {{- include "motet.expression" (dict "text" $indicator.expr "tokens" (merge (dict "WINDOW" $window) $tokens)) | nindent 10 }}
        labels:
          {{- toYaml $selector | nindent 10 }}
      {{- end }}
      {{- end }}
  - name: motet-burns
    rules:
      {{- range $title, $indicator := $file.indicators }}
      {{- $budget := printf "(1 - %v)" (index $values.objectives (lower $title)) }}
      {{- range $suffix, $burn := $file.burns }}
      {{- $name := printf "%s%s" $title $suffix }}
      {{- $names = append $names $name }}
      {{- $changes := get $values.alerts $name | default dict }}
      {{- if ne (get $changes "enabled" | toString) "false" }}
      {{- $clauses := list }}
      {{- range $pair := $burn.windows }}
        {{- $limit := printf "> %v * %s" $pair.rate $budget }}
        {{- $events := include "motet.expression" (dict "text" $indicator.events "tokens" (merge (dict "WINDOW" $pair.long) $tokens)) }}
        {{- $clauses = append $clauses (printf "%s%s{%s} %s\n  and on (modality) %s%s{%s} %s\n  and on (modality) (\n    %s\n  ) >= %v"
          $indicator.record $pair.long $tokens.MATCHERS $limit
          $indicator.record $pair.short $tokens.MATCHERS $limit
          ($events | indent 4 | trim) $values.objectives.minimumEvents) }}
      {{- end }}
      - alert: Motet{{ $name }}
        expr: |-
          (
            {{- join "\nor " $clauses | nindent 12 }}
          ) / {{ $budget }}
        {{- include "motet.alert" (dict "root" $ "name" $name "alert" (merge (dict "severity" $burn.severity) $indicator) "changes" $changes "selector" $selector) | nindent 8 }}
      {{- end }}
      {{- end }}
      {{- end }}
  - name: motet-alerts
    rules:
      {{- range $name, $alert := $file.alerts }}
      {{- $names = append $names $name }}
      {{- $changes := get $values.alerts $name | default dict }}
      {{- /* Not `merge` or `default`, which take the threshold 0 for none. */}}
      {{- $threshold := get (ternary $changes $alert (hasKey $changes "threshold")) "threshold" }}
      {{- if and (hasKey $changes "threshold") (not (hasKey $alert "threshold")) }}
        {{- fail (printf "prometheusRule.alerts.%s.threshold has no effect: this alert has no threshold; remove it" $name) }}
      {{- end }}
      {{- if ne (get $changes "enabled" | toString) "false" }}
      - alert: Motet{{ $name }}
        expr: |-
          {{- include "motet.expression" (dict "text" $alert.expr "tokens" (merge (dict "THRESHOLD" (include "motet.number" $threshold)) $tokens)) | nindent 10 }}
        {{- include "motet.alert" (dict "root" $ "name" $name "alert" $alert "changes" $changes "selector" $selector) | nindent 8 }}
      {{- end }}
      {{- end }}
{{- range $name, $_ := $values.alerts }}
  {{- if not (has $name $names) }}
    {{- fail (printf "prometheusRule.alerts.%s: there is no such alert; use one of %s" $name (sortAlpha $names | join ", ")) }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* The duration, the labels and the annotations of an alert. Takes root, name, alert, changes and selector. */}}
{{- define "motet.alert" -}}
{{- with get .changes "for" | default (get .alert "for") -}}
for: {{ . }}
{{ end -}}
labels:
  severity: {{ .changes.severity | default .alert.severity }}
  {{- if eq (get .alert "modality") "pool" }}
  modality: "{{ `{{ $labels.pool }}` }}"
  {{- else if not .alert.record }}
  modality: all
  {{- end }}
  {{- toYaml .selector | nindent 2 }}
annotations:
  summary: {{ .alert.summary | quote }}
  description: {{ .alert.description | quote }}
  runbook_url: {{ trimSuffix "/" .root.Values.prometheusRule.runbookUrl }}/{{ kebabcase .name }}.md
{{- end -}}

{{/* An expression with the values of its tokens. Takes text and tokens. */}}
{{- define "motet.expression" -}}
{{- $text := .text -}}
{{- range $round := list 1 2 -}}
{{- range $token, $value := $.tokens -}}
  {{- $text = regexReplaceAllLiteral (printf `\b%s\b` $token) $text $value -}}
{{- end -}}
{{- end -}}
{{- $text -}}
{{- end -}}

{{/* The rate of the media that were complete within the time of their modality. Takes the times by modality. */}}
{{- define "motet.buckets" -}}
{{- $others := omit . "default" "text" -}}
{{- $rate := `sum by (modality) (rate(motet_media_job_duration_seconds_bucket{MATCHERS,modality%s,le="%s"}[WINDOW]))` -}}
{{- $terms := list (printf $rate (printf `!~%q` (keys $others | sortAlpha | join "|")) (include "motet.bound" .default)) -}}
{{- range $modality, $seconds := $others -}}
  {{- $terms = append $terms (printf $rate (printf `=%q` $modality) (include "motet.bound" $seconds)) -}}
{{- end -}}
({{ join " or " $terms }})
{{- end -}}

{{/* A number as the label `le` of Motet's metrics has it: with a point. */}}
{{- define "motet.bound" -}}
{{- $text := include "motet.number" . -}}
{{ $text }}{{ if not (contains "." $text) }}.0{{ end }}
{{- end -}}

{{/* A number without an exponent. */}}
{{- define "motet.number" -}}
{{- if eq (float64 .) (floor .) }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- end -}}
