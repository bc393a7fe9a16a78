{{/* Refusals of values that fit the schema and cannot work. Each message names the value and its remedy. */}}
{{- define "motet.validate" -}}
{{- $values := .Values -}}
{{- $components := include "motet.components" . | fromJson -}}
{{- $kinds := dict -}}
{{- $version := .Capabilities.KubeVersion.Version -}}

{{- range $components.workers -}}
  {{- $at := printf "workers.%s" .name -}}
  {{- $gpu := .values.gpu -}}
  {{- $_ := set $kinds .kind true -}}
  {{- if has .name (list "orchestrator" "test" "weights" "authority" "self-signed" "default-deny" "keda" "ray" "head" "tracing") -}}
    {{- fail (printf "%s: the chart uses this name itself; choose another name" $at) -}}
  {{- end -}}
  {{- if and (eq .kind "decoder") (not .modality) -}}
    {{- fail (printf "%s is a decoder without a modality: set %s.modality to one that the bundle makes, such as image" $at $at) -}}
  {{- end -}}
  {{- if and (ne .kind "decoder") .modality -}}
    {{- fail (printf "%s.modality has no effect for the kind %s: remove it, or set %s.kind to decoder" $at .kind $at) -}}
  {{- end -}}
  {{- if gt (int $gpu.count) 1 -}}
    {{- fail (printf "%s.gpu.count is %d, but a worker uses one device: set it to 1, and raise %s.replicas" $at (int $gpu.count) $at) -}}
  {{- end -}}
  {{- if $gpu.dra.enabled -}}
    {{- if semverCompare "<1.34.0-0" $version -}}
      {{- fail (printf "%s.gpu.dra needs Kubernetes 1.34 or newer (resource.k8s.io/v1), and this is %s: set %s.gpu.dra.enabled to false and %s.gpu.count to 1, or upgrade" $at $version $at $at) -}}
    {{- end -}}
    {{- if or (gt (int $gpu.count) 0) $gpu.migProfile -}}
      {{- fail (printf "%s.gpu requests a device twice: with dra, set count to 0 and migProfile to \"\", and choose a MIG profile by dra.selectors" $at) -}}
    {{- end -}}
    {{- if and $gpu.dra.claimName $gpu.dra.selectors -}}
      {{- fail (printf "%s.gpu.dra.selectors have no effect with dra.claimName: set them in that claim" $at) -}}
    {{- end -}}
  {{- else if and $gpu.migProfile (eq (int $gpu.count) 0) -}}
    {{- fail (printf "%s.gpu.migProfile has no effect without a GPU: set %s.gpu.count to 1" $at $at) -}}
  {{- end -}}
{{- end -}}
{{- range $kind := list "encoder" "llm" -}}
  {{- if not (hasKey $kinds $kind) -}}
    {{- fail (printf "no worker has the kind %s, and every request needs one: add an entry to workers with kind: %s" $kind $kind) -}}
  {{- end -}}
{{- end -}}

{{- $pools := dict -}}
{{- range $components.workers -}}
  {{- $at := printf "workers.%s.autoscaling" .name -}}
  {{- $scaling := .values.autoscaling -}}
  {{- if and (ne .mode "none") (eq (eq .mode "ray") (ne $values.mode "ray")) -}}
    {{- fail (printf "%s.mode is %s, and mode is %s: with the mode ray, only Ray scales. Set autoscaling.mode to ray for it, or to none" $at .mode $values.mode) -}}
  {{- end -}}
  {{- if ne .mode "none" -}}
    {{- if and (hasKey $pools .pool) (not $components.inRay) -}}
      {{- fail (printf "%s and workers.%s.autoscaling scale by the demand of one pool, and would both serve all of it: set one mode to none" $at (get $pools .pool)) -}}
    {{- end -}}
    {{- $_ := set $pools .pool .name -}}
    {{- if gt (int $scaling.minReplicas) (int $scaling.maxReplicas) -}}
      {{- fail (printf "%s.minReplicas is above maxReplicas, %d: raise maxReplicas" $at (int $scaling.maxReplicas)) -}}
    {{- end -}}
    {{- if and (eq (int $scaling.minReplicas) 0) (eq .mode "hpa") -}}
      {{- fail (printf "%s.minReplicas is 0, and a HorizontalPodAutoscaler never scales to zero: set it to 1, or mode to keda or prometheus" $at) -}}
    {{- end -}}
    {{- if and (eq (int $scaling.minReplicas) 0) (hasKey $values.orchestrator.settings "wait_for_replicas") (not $values.orchestrator.settings.wait_for_replicas) -}}
      {{- fail (printf "%s.minReplicas is 0, and requests would fail while there is no pod: remove orchestrator.settings.wait_for_replicas, or set minReplicas to 1" $at) -}}
    {{- end -}}
    {{- if and (eq .mode "keda") (gt (int $values.orchestrator.replicas) 1) -}}
      {{- fail (printf "%s.mode keda asks one orchestrator, and each knows only its own requests: set mode to prometheus, which sums, or orchestrator.replicas to 1" $at) -}}
    {{- end -}}
    {{- if and (not (has .mode (list "keda" "ray"))) $values.networkPolicy.enabled (not $values.networkPolicy.scrapers) -}}
      {{- fail (printf "%s.mode %s needs the metrics, and the NetworkPolicy keeps Prometheus from them: add its pods to networkPolicy.scrapers" $at .mode) -}}
    {{- end -}}
    {{- if and (eq .mode "prometheus") (not $values.scaling.prometheus.serverAddress) -}}
      {{- fail (printf "%s.mode is prometheus: set scaling.prometheus.serverAddress" $at) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- if $components.inRay -}}
  {{- if ne $values.discovery "dns" -}}
    {{- fail "discovery has no effect with the mode ray, because Ray knows the replicas: set it to dns" -}}
  {{- end -}}
  {{- if and (include "motet.scaledBy" (dict "components" $components "mode" "ray")) $values.networkPolicy.enabled (not $values.networkPolicy.apiServer) -}}
    {{- fail "the NetworkPolicy keeps the autoscaler of Ray from the API server: set networkPolicy.apiServer to the addresses of `kubectl get endpointslices --namespace default kubernetes`, or autoscaling.mode of all workers to none" -}}
  {{- end -}}
  {{- if and $values.networkPolicy.enabled (not $values.ray.operator) -}}
    {{- fail "the NetworkPolicy keeps KubeRay from the head of the cluster: add the pods of its operator to ray.operator" -}}
  {{- end -}}
{{- end -}}
{{- range $components.workers -}}
  {{- if and (eq .mode "ray") (gt (float64 .values.ray.targetOngoingRequests) (float64 (.values.settings.max_running | default 8))) -}}
    {{- fail (printf "workers.%s.ray.targetOngoingRequests is above settings.max_running, so no load would start a pod: lower it" .name) -}}
  {{- end -}}
{{- end -}}
{{- if include "motet.scaledBy" (dict "components" $components "mode" "keda") -}}
  {{- if and (eq $values.tls.source "existingSecret") (not $values.scaling.keda.tlsSecret) -}}
    {{- fail (printf "KEDA has no certificate: set scaling.keda.tlsSecret to a secret with tls.crt, tls.key and ca.crt, whose certificate has the URI spiffe://%s/motet/scaler" $values.tls.trustDomain) -}}
  {{- end -}}
  {{- if and $values.networkPolicy.enabled (not $values.scaling.keda.peers) -}}
    {{- fail "the NetworkPolicy keeps KEDA from the orchestrator: add the pods of its operator to scaling.keda.peers" -}}
  {{- end -}}
{{- end -}}

{{- range $components.all -}}
  {{- $at := eq .kind "orchestrator" | ternary "orchestrator" (printf "workers.%s" .name) -}}
  {{- if and (eq $values.tls.source "existingSecret") (not .values.tlsSecret) -}}
    {{- fail (printf "%s has no certificate: set %s.tlsSecret to a secret with tls.crt, tls.key and ca.crt, whose certificate has the URI spiffe://%s/motet/%s" $at $at $values.tls.trustDomain .kind) -}}
  {{- end -}}
{{- end -}}

{{- $access := $values.orchestrator.access -}}
{{- $settings := $values.orchestrator.settings -}}
{{- $keys := include "motet.keysSecret" . -}}
{{- if and $access.keys.existingSecret $access.keys.records -}}
  {{- fail "orchestrator.access.keys has both existingSecret and records: remove one of them" -}}
{{- end -}}
{{- if not $values.allowInsecure -}}
  {{- if eq $values.tls.source "none" -}}
    {{- fail "tls.source none sends prompts and media without encryption: set tls.source to certManager or existingSecret, or set allowInsecure to true" -}}
  {{- end -}}
  {{- if not (or $access.clientCertificates $keys $settings.jwt_issuer) -}}
    {{- fail "the orchestrator would serve anyone: set orchestrator.access.clientCertificates, orchestrator.access.keys or orchestrator.settings.jwt_issuer, or set allowInsecure to true" -}}
  {{- end -}}
{{- end -}}
{{- if and $values.networkPolicy.enabled (hasPrefix "https:" ($settings.jwt_keys | default "")) (not $values.networkPolicy.orchestratorEgress) -}}
  {{- fail "the NetworkPolicy keeps the orchestrator from orchestrator.settings.jwt_keys: add the identity provider to networkPolicy.orchestratorEgress" -}}
{{- end -}}

{{- if and (eq $values.discovery "kubernetes") $values.networkPolicy.enabled (not $values.networkPolicy.apiServer) -}}
  {{- fail "the NetworkPolicy keeps the orchestrator from the API server: set networkPolicy.apiServer to the addresses of `kubectl get endpointslices --namespace default kubernetes`, or discovery to dns" -}}
{{- end -}}

{{- $weights := $values.weights -}}
{{- if and (eq $weights.source "persistentVolumeClaim") (not $weights.persistentVolumeClaim.claimName) -}}
  {{- fail "weights.source is persistentVolumeClaim: set weights.persistentVolumeClaim.claimName to an existing claim" -}}
{{- end -}}
{{- if eq $weights.source "hydrated" -}}
  {{- if not $weights.hydrated.digest -}}
    {{- fail "weights.source is hydrated: set weights.hydrated.digest to the sha256 of the bundle's bundle.yaml" -}}
  {{- end -}}
  {{- if not $weights.hydrated.fetch.image -}}
    {{- fail "weights.source is hydrated: set weights.hydrated.fetch.image to an image that downloads the bundle into /weights" -}}
  {{- end -}}
{{- end -}}
{{- if eq $weights.source "imageVolume" -}}
  {{- if not (regexMatch "@sha256:[0-9a-f]{64}$" $weights.imageVolume.reference) -}}
    {{- fail "weights.source is imageVolume: set weights.imageVolume.reference to an image with its digest, NAME@sha256:..., so that all pods have the same weights" -}}
  {{- end -}}
  {{- if semverCompare "<1.33.0-0" $version -}}
    {{- fail (printf "weights.source imageVolume needs Kubernetes 1.33 or newer, and this is %s: choose persistentVolumeClaim or hydrated, or upgrade" $version) -}}
  {{- end -}}
{{- end -}}

{{- $tracing := $values.tracing -}}
{{- if and (hasPrefix "http:" $tracing.endpoint) (not $tracing.allowInsecure) -}}
  {{- fail "tracing.endpoint sends traces without encryption: begin it with https://, or set tracing.allowInsecure to true" -}}
{{- end -}}
{{- if and $tracing.headersSecret (not $tracing.endpoint) -}}
  {{- fail "tracing.headersSecret has no effect without tracing.endpoint: set it, too" -}}
{{- end -}}
{{- if and $tracing.endpoint $values.networkPolicy.enabled (not $values.networkPolicy.collector) -}}
  {{- fail "the NetworkPolicy keeps all components from the collector: set networkPolicy.collector to its pods, or tracing.endpoint to \"\"" -}}
{{- end -}}
{{- if and $values.podMonitor.enabled $values.networkPolicy.enabled (not $values.networkPolicy.scrapers) -}}
  {{- fail "the NetworkPolicy keeps Prometheus from the metrics: add its pods to networkPolicy.scrapers, or set podMonitor.enabled to false" -}}
{{- end -}}
{{- if and $values.grpcRoute.enabled (not $values.grpcRoute.parentRefs) -}}
  {{- fail "grpcRoute has no gateway: set grpcRoute.parentRefs, such as [{name: public}]" -}}
{{- end -}}
{{- if and $values.tests.enabled (eq $values.tls.source "existingSecret") (not $values.tests.tlsSecret) -}}
  {{- fail "the pods of helm test have no certificate: set tests.tlsSecret to a secret with tls.crt, tls.key and ca.crt, or set tests.enabled to false" -}}
{{- end -}}
{{- end -}}
