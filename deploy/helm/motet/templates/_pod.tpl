{{/*
A probe of a name of the health service. Kubelets send gRPC probes without TLS, so with TLS a probe asks /health of the
metrics, which require no certificate. Takes root and service.
*/}}
{{- define "motet.probe" -}}
{{- if eq .root.Values.tls.source "none" -}}
grpc:
  port: 50050
  service: {{ .service | quote }}
{{- else -}}
httpGet:
  path: /health?service={{ .service }}
  port: metrics
  scheme: HTTPS
{{- end -}}
{{- end -}}

{{/*
The startup probe waits for the weights, for at most startupSeconds. The readiness probe asks for the health of the whole
process. An orchestrator stays ready while its requests wait for a language model that restarts (MOTET_RETURN_TIMEOUT,
by default 15 s). The liveness probe does not ask for workers: a restart cures no missing worker.
*/}}
{{- define "motet.probes" -}}
{{- $is := eq .component.kind "orchestrator" -}}
{{- $loaded := $is | ternary "liveness" "" -}}
{{- $failures := 2 -}}
{{- if $is -}}
  {{- $failures = add 1 (divf (get .component.values.settings "return_timeout" | default 15) 5 | ceil) | int -}}
{{- end -}}
startupProbe:
  {{- include "motet.probe" (dict "root" .root "service" $loaded) | nindent 2 }}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: {{ divf .component.values.startupSeconds 5 | ceil | int }}
readinessProbe:
  {{- include "motet.probe" (dict "root" .root "service" "") | nindent 2 }}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: {{ $failures }}
livenessProbe:
  {{- include "motet.probe" (dict "root" .root "service" "liveness") | nindent 2 }}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end -}}

{{/* The requests and limits of a container, with the GPU. */}}
{{- define "motet.resources" -}}
{{- $resources := deepCopy .component.values.resources -}}
{{- if .component.hasGpu -}}
  {{- $gpu := .component.values.gpu -}}
  {{- if $gpu.dra.enabled -}}
    {{- $_ := set $resources "claims" (list (dict "name" "gpu")) -}}
  {{- else -}}
    {{- $name := $gpu.resource -}}
    {{- if $gpu.migProfile -}}{{- $name = printf "nvidia.com/mig-%s" $gpu.migProfile -}}{{- end -}}
    {{- $_ := set $resources "limits" (merge (dict $name 1) ($resources.limits | default dict)) -}}
  {{- end -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{/* The fields that every pod of the chart has. Takes root, values, serviceAccount, and optionally token. */}}
{{- define "motet.podSecurity" -}}
serviceAccountName: {{ .serviceAccount }}
automountServiceAccountToken: {{ .token | default false }}
# Otherwise the kubelet adds a variable MOTET_... for each service of the namespace.
enableServiceLinks: false
{{- with .root.Values.images.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .values.podSecurityContext | nindent 2 }}
{{- end -}}

{{/* The specification of a component's pod. Takes root, components and component. */}}
{{- define "motet.pod" -}}
{{- $root := .root -}}
{{- $component := .component -}}
{{- $values := .component.values -}}
{{- $tls := ne $root.Values.tls.source "none" -}}
{{- $is := eq $component.kind "orchestrator" -}}
{{- $keys := and $is (include "motet.keysSecret" $root) -}}
{{- $levels := and (not (hasKey ($values.settings | default dict) "log_level")) (or $is (ne $root.Values.mode "ray")) -}}
{{- $weights := ne $root.Values.weights.source "installed" -}}
{{- $headers := not (empty $root.Values.tracing.endpoint) | ternary $root.Values.tracing.headersSecret "" -}}
{{- include "motet.podSecurity" (dict "root" $root "values" $values "serviceAccount" (printf "%s-%s" (include "motet.name" $root) $component.name) "token" (and $is (eq $root.Values.discovery "kubernetes"))) }}
terminationGracePeriodSeconds: {{ $component.grace }}
{{- range $field := list "nodeSelector" "tolerations" "affinity" "priorityClassName" "runtimeClassName" }}
{{- with get $values $field }}
{{ $field }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with $values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  {{- $selector := dict "labelSelector" (dict "matchLabels" (include "motet.selectorLabels" (dict "root" $root "name" $component.name) | fromYaml)) }}
  - {{- toYaml (merge (deepCopy .) $selector) | nindent 4 }}
  {{- end }}
{{- end }}
{{- if and $component.hasGpu $values.gpu.dra.enabled }}
resourceClaims:
  - name: gpu
    {{- if $values.gpu.dra.claimName }}
    resourceClaimName: {{ $values.gpu.dra.claimName }}
    {{- else }}
    resourceClaimTemplateName: {{ include "motet.name" $root }}-{{ $component.name }}-{{ include "motet.claimSuffix" $values.gpu }}
    {{- end }}
{{- end }}
{{- $node := and $is (eq $root.Values.mode "ray") }}
{{- if $node }}
# The orchestrator finds its node of Ray in the list of processes.
shareProcessNamespace: true
{{- end }}
{{- if or $node (eq $root.Values.weights.source "hydrated") }}
initContainers:
{{- end }}
{{- if $node }}
  {{- include "motet.rayNode" . | nindent 2 }}
{{- end }}
{{- if eq $root.Values.weights.source "hydrated" }}
  - name: wait-for-weights
    image: {{ include "motet.image" (dict "root" $root "image" $values.image) }}
    imagePullPolicy: {{ $root.Values.images.pullPolicy }}
    command: [python, -c, {{ include "motet.waitScript" $root | quote }}]
    args: [{{ include "motet.weightsMark" $root | quote }}]
    securityContext:
      {{- toYaml $values.securityContext | nindent 6 }}
    resources:
      requests: {cpu: 10m, memory: 32Mi}
      limits: {memory: 128Mi}
    volumeMounts:
      - {name: weights, mountPath: /weights, readOnly: true}
{{- end }}
containers:
  - name: {{ $component.kind }}
    image: {{ include "motet.image" (dict "root" $root "image" $values.image) }}
    imagePullPolicy: {{ $root.Values.images.pullPolicy }}
    command: [motet, serve, {{ $component.kind }}]
    env:
      # Caches of libraries need a folder that the process may write to.
      - {name: HOME, value: /tmp}
      {{- if $node }}
      - {name: RAY_ADDRESS, value: {{ include "motet.rayHead" $root }}:6379}
      {{- end }}
      {{- range $name, $value := include "motet.environment" . | fromJson }}
      - {name: {{ $name }}, value: {{ $value | quote }}}
      {{- end }}
      {{- if $levels }}
      - {name: MOTET_LOG_LEVEL_FILE, value: /etc/motet/log-levels/levels}
      {{- end }}
      {{- with $values.extraEnv }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    ports:
      - {name: grpc, containerPort: 50050}
      - {name: metrics, containerPort: 9464}
      {{- if and $is (include "motet.scaledBy" (dict "components" .components "mode" "keda")) }}
      - {name: scaler, containerPort: 50060}
      {{- end }}
    {{- include "motet.probes" . | nindent 4 }}
    {{- if $component.preStop }}
    lifecycle:
      preStop:
        sleep: {seconds: {{ $component.preStop }}}
    {{- end }}
    resources:
      {{- include "motet.resources" . | nindent 6 }}
    securityContext:
      {{- toYaml $values.securityContext | nindent 6 }}
    terminationMessagePolicy: FallbackToLogsOnError
    volumeMounts:
      - {name: tmp, mountPath: /tmp}
      {{- if or $node $values.sharedMemory }}
      - {name: shared-memory, mountPath: /dev/shm}
      {{- end }}
      {{- if $tls }}
      - {name: tls, mountPath: /etc/motet/tls, readOnly: true}
      {{- end }}
      {{- if $keys }}
      - {name: keys, mountPath: /etc/motet/keys, readOnly: true}
      {{- end }}
      {{- if $levels }}
      - {name: log-levels, mountPath: /etc/motet/log-levels, readOnly: true}
      {{- end }}
      {{- if and $is $root.Values.quotas }}
      - {name: quotas, mountPath: /etc/motet/quotas, readOnly: true}
      {{- end }}
      {{- if $headers }}
      - {name: tracing-headers, mountPath: /etc/motet/tracing, readOnly: true}
      {{- end }}
      {{- if $weights }}
      - {name: weights, mountPath: /weights, readOnly: true}
      {{- end }}
      {{- with $values.extraVolumeMounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
volumes:
  - name: tmp
    emptyDir: {sizeLimit: 4Gi}
  {{- with $node | ternary "512Mi" $values.sharedMemory }}
  - name: shared-memory
    emptyDir: {medium: Memory, sizeLimit: {{ . }}}
  {{- end }}
  {{- if $tls }}
  - name: tls
    secret: {secretName: {{ include "motet.tlsSecret" . }}, defaultMode: 0440}
  {{- end }}
  {{- if $keys }}
  - name: keys
    secret: {secretName: {{ $keys }}, defaultMode: 0440}
  {{- end }}
  {{- if $levels }}
  - name: log-levels
    configMap: {name: {{ include "motet.name" $root }}-log-levels}
  {{- end }}
  {{- if and $is $root.Values.quotas }}
  - name: quotas
    configMap: {name: {{ include "motet.name" $root }}-orchestrator-quotas}
  {{- end }}
  {{- with $headers }}
  - name: tracing-headers
    secret: {secretName: {{ . }}, defaultMode: 0440}
  {{- end }}
  {{- include "motet.weightsVolume" $root | nindent 2 }}
  {{- with $values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
