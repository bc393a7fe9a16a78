{{/*
The components as JSON: {"workers": [...], "orchestrator": {...}}. A component has its name, kind, modality, values with
the defaults merged, whether it has a GPU, the seconds of its end (preStop, drain and grace), the mode of its scaling, the
maximum number of its pods, and the pool of a worker: the label of the metrics.

"all" has the components with a Deployment: with the mode ray, these are not the workers.

The orchestrator's seconds are at least the workers', because a generation needs the workers until its end.
*/}}
{{- define "motet.components" -}}
{{- $root := . -}}
{{- $workers := list -}}
{{- $own := .Values.orchestrator.lifecycle -}}
{{- $preStop := int $own.preStopSeconds -}}
{{- $drain := int $own.drainSeconds -}}
{{- $grace := 0 -}}
{{- range $name, $entry := .Values.workers -}}
  {{- $values := mergeOverwrite (deepCopy $root.Values.defaults) (deepCopy $entry) -}}
  {{- $end := $values.lifecycle -}}
  {{- $sum := add $end.preStopSeconds $end.drainSeconds $end.marginSeconds | int -}}
  {{- $mode := $values.autoscaling.mode -}}
  {{- $worker := dict "name" $name "kind" $entry.kind "modality" ($entry.modality | default "") "values" $values
        "mode" $mode "maxPods" (eq $mode "none" | ternary $values.replicas $values.autoscaling.maxReplicas | int)
        "pool" ($entry.modality | default $entry.kind)
        "hasGpu" (or (gt (int $values.gpu.count) 0) $values.gpu.dra.enabled)
        "preStop" (int $end.preStopSeconds) "drain" (int $end.drainSeconds) "grace" $sum -}}
  {{- $workers = append $workers $worker -}}
  {{- $preStop = max $preStop (int $end.preStopSeconds) | int -}}
  {{- $drain = max $drain (int $end.drainSeconds) | int -}}
  {{- $grace = max $grace $sum | int -}}
{{- end -}}
{{- $grace = max $grace (add $preStop $drain $own.marginSeconds) | int -}}
{{- $orchestrator := dict "name" "orchestrator" "kind" "orchestrator" "modality" "" "values" .Values.orchestrator
      "mode" "none" "maxPods" (int .Values.orchestrator.replicas) "pool" ""
      "hasGpu" false "preStop" $preStop "drain" $drain "grace" $grace -}}
{{- $inRay := eq .Values.mode "ray" -}}
{{- dict "workers" $workers "orchestrator" $orchestrator "inRay" $inRay
      "all" (append ($inRay | ternary list $workers) $orchestrator) | toJson -}}
{{- end -}}

{{/* The addresses of the workers of a kind and modality, as a JSON list. Each address of a DNS name is a replica, and an
application of Ray has the name of its worker. Takes root, workers, kind and modality. */}}
{{- define "motet.addresses" -}}
{{- $addresses := list -}}
{{- $kubernetes := eq .root.Values.discovery "kubernetes" -}}
{{- range .workers -}}
  {{- if and (eq .kind $.kind) (eq .modality $.modality) -}}
    {{- $name := dict "root" $.root "name" .name -}}
    {{- $address := printf "dns:///%s:50050" (include "motet.host" $name) -}}
    {{- if eq $.root.Values.mode "ray" -}}
      {{- $address = printf "ray:%s" .name -}}
    {{- else if $kubernetes -}}
      {{- $address = printf "kubernetes://%s/%s-%s:grpc" $.root.Release.Namespace (include "motet.name" $.root) .name -}}
    {{- end -}}
    {{- $addresses = append $addresses $address -}}
  {{- end -}}
{{- end -}}
{{- toJson $addresses -}}
{{- end -}}

{{/* The names of the workers with a mode of scaling, joined with spaces. Takes components and mode. */}}
{{- define "motet.scaledBy" -}}
{{- $names := list -}}
{{- range .components.workers -}}
  {{- if eq .mode $.mode -}}{{- $names = append $names .name -}}{{- end -}}
{{- end -}}
{{- join " " $names -}}
{{- end -}}

{{/* The name of the secret with the certificate of KEDA. */}}
{{- define "motet.kedaSecret" -}}
{{- if eq .Values.tls.source "certManager" -}}{{ include "motet.name" . }}-keda-tls{{- else -}}{{ .Values.scaling.keda.tlsSecret }}{{- end -}}
{{- end -}}

{{/* The name of the secret with a component's certificate. Takes root and component. */}}
{{- define "motet.tlsSecret" -}}
{{- if eq .root.Values.tls.source "certManager" -}}
{{ include "motet.name" .root }}-{{ .component.name }}-tls
{{- else -}}
{{ .component.values.tlsSecret }}
{{- end -}}
{{- end -}}

{{/* The settings of traces as a JSON object, for all components. */}}
{{- define "motet.tracingSettings" -}}
{{- $settings := dict -}}
{{- with .Values.tracing -}}
  {{- if .endpoint -}}
    {{- $_ := set $settings "tracing_endpoint" .endpoint -}}
    {{- $_ := set $settings "tracing_ratio" .ratio -}}
    {{- if .allowInsecure -}}{{- $_ := set $settings "allow_insecure_tracing" true -}}{{- end -}}
    {{- if .headersSecret -}}{{- $_ := set $settings "tracing_headers" (printf "/etc/motet/tracing/%s" .headersKey) -}}{{- end -}}
  {{- end -}}
{{- end -}}
{{- toJson $settings -}}
{{- end -}}

{{/* The settings of a component as a JSON object of environment variables. Takes root, components and component. */}}
{{- define "motet.environment" -}}
{{- $values := .root.Values -}}
{{- $is := eq .component.kind "orchestrator" -}}
{{- $env := dict -}}
{{- range $name, $value := mergeOverwrite (include "motet.tracingSettings" .root | fromJson) .component.values.settings -}}
  {{- $_ := set $env (printf "MOTET_%s" (upper $name)) (kindIs "string" $value | ternary $value (toJson $value)) -}}
{{- end -}}
{{- $_ := set $env "MOTET_LISTEN" "0.0.0.0:50050" -}}
{{- $_ := set $env "MOTET_METRICS" "0.0.0.0:9464" -}}
{{- $_ := set $env "MOTET_GRACE" (toString .component.drain) -}}
{{- $_ := set $env "MOTET_BUNDLE" (include "motet.bundle" .root) -}}
{{- /* Kubelets have no certificate, so the metrics with their /health cannot require one. NetworkPolicies protect them. */}}
{{- $_ := set $env "MOTET_ALLOW_INSECURE_METRICS" "true" -}}
{{- if $values.allowInsecure -}}{{- $_ := set $env "MOTET_ALLOW_INSECURE" "true" -}}{{- end -}}
{{- if ne $values.tls.source "none" -}}
  {{- $_ := set $env "MOTET_TLS_CERT" "/etc/motet/tls/tls.crt" -}}
  {{- $_ := set $env "MOTET_TLS_KEY" "/etc/motet/tls/tls.key" -}}
  {{- $_ := set $env "MOTET_METRICS_TLS" "server" -}}
  {{- if or (not $is) $values.orchestrator.access.clientCertificates -}}
    {{- $_ := set $env "MOTET_TLS_CLIENT_CA" "/etc/motet/tls/ca.crt" -}}
  {{- end -}}
{{- end -}}
{{- if .component.modality -}}{{- $_ := set $env "MOTET_MODALITY" .component.modality -}}{{- end -}}
{{- if not $is -}}
  {{- if not (hasKey $env "MOTET_DEVICE") -}}
    {{- $_ := set $env "MOTET_DEVICE" (.component.hasGpu | ternary "cuda" "cpu") -}}
  {{- end -}}
{{- else -}}
  {{- $find := dict "root" .root "workers" .components.workers -}}
  {{- $_ := set $env "MOTET_ENCODER" (include "motet.addresses" (merge (dict "kind" "encoder" "modality" "") $find)) -}}
  {{- $_ := set $env "MOTET_LANGUAGE_MODEL" (include "motet.addresses" (merge (dict "kind" "llm" "modality" "") $find)) -}}
  {{- $decoders := dict -}}
  {{- range .components.workers -}}
    {{- if .modality -}}
      {{- $_ := set $decoders .modality (include "motet.addresses" (merge (dict "kind" "decoder" "modality" .modality) $find) | fromJsonArray) -}}
    {{- end -}}
  {{- end -}}
  {{- $_ := set $env "MOTET_DECODERS" (toJson $decoders) -}}
  {{- if ne $values.tls.source "none" -}}{{- $_ := set $env "MOTET_TLS_CA" "/etc/motet/tls/ca.crt" -}}{{- end -}}
  {{- range .components.workers -}}
    {{- if and (ne .mode "none") (eq (int .values.autoscaling.minReplicas) 0) -}}
      {{- $_ := set $env "MOTET_WAIT_FOR_REPLICAS" "true" -}}
    {{- end -}}
  {{- end -}}
  {{- if include "motet.scaledBy" (dict "components" .components "mode" "keda") -}}
    {{- $_ := set $env "MOTET_SCALER_LISTEN" "0.0.0.0:50060" -}}
    {{- if ne $values.tls.source "none" -}}{{- $_ := set $env "MOTET_SCALER_CLIENT_CA" "/etc/motet/tls/ca.crt" -}}{{- end -}}
  {{- end -}}
  {{- if include "motet.keysSecret" .root -}}
    {{- $_ := set $env "MOTET_KEYS" (printf "/etc/motet/keys/%s" $values.orchestrator.access.keys.key) -}}
  {{- end -}}
  {{- if $values.quotas -}}{{- $_ := set $env "MOTET_QUOTAS" "/etc/motet/quotas/quotas.yaml" -}}{{- end -}}
{{- end -}}
{{- toJson $env -}}
{{- end -}}

{{/* The name of the secret with the API keys, or "". */}}
{{- define "motet.keysSecret" -}}
{{- $keys := .Values.orchestrator.access.keys -}}
{{- if $keys.existingSecret -}}{{ $keys.existingSecret }}{{- else if $keys.records -}}{{ include "motet.name" . }}-orchestrator-keys{{- end -}}
{{- end -}}
