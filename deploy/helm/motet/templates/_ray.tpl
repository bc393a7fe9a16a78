{{/* The cluster of Ray: its pods, and the applications of the workers. */}}

{{/* The name of the service of the head, which KubeRay makes for the RayService. */}}
{{- define "motet.rayHead" -}}
{{ include "motet.name" . }}-ray-head-svc.{{ .Release.Namespace }}.svc
{{- end -}}

{{/*
The container that makes the pod of an orchestrator a node of Ray, without resources for replicas. As a sidecar, it is
ready before the orchestrator starts, and ends after it. Takes root and component.
*/}}
{{- define "motet.rayNode" -}}
- name: ray
  image: {{ include "motet.image" (dict "root" .root "image" .component.values.image) }}
  imagePullPolicy: {{ .root.Values.images.pullPolicy }}
  restartPolicy: Always
  command: [ray, start]
  args:
    - --address={{ include "motet.rayHead" .root }}:6379
    - --num-cpus=0
    - --num-gpus=0
    - --object-store-memory=268435456
    - --node-manager-port=6380
    - --block
  env:
    - {name: HOME, value: /tmp}
  startupProbe:
    tcpSocket: {port: 6380}
    periodSeconds: 2
    failureThreshold: {{ divf .component.values.startupSeconds 2 | ceil | int }}
  resources:
    {{- toYaml .root.Values.ray.nodeResources | nindent 4 }}
  securityContext:
    {{- toYaml .component.values.securityContext | nindent 4 }}
  volumeMounts:
    - {name: tmp, mountPath: /tmp}
    - {name: shared-memory, mountPath: /dev/shm}
{{- end -}}

{{/*
The pod of a worker as a pod of Ray: KubeRay adds the command, the probes and the address of the head to its first
container. The settings of the worker are in its application. Takes root, components, component and resources.
*/}}
{{- define "motet.rayPod" -}}
{{- $pod := include "motet.pod" . | fromYaml -}}
{{- $container := first $pod.containers -}}
{{- $env := list (dict "name" "HOME" "value" "/tmp") (dict "name" "RAY_USAGE_STATS_ENABLED" "value" "0") -}}
{{- $mounts := list -}}
{{- range $container.volumeMounts -}}
  {{- if ne .name "tls" -}}{{- $mounts = append $mounts . -}}{{- end -}}
{{- end -}}
{{- $volumes := list -}}
{{- range $pod.volumes -}}
  {{- if ne .name "tls" -}}{{- $volumes = append $volumes . -}}{{- end -}}
{{- end -}}
{{- $ray := dict "name" "ray" "image" $container.image "imagePullPolicy" $container.imagePullPolicy
      "env" (concat $env (.component.values.extraEnv | default list)) "resources" (.resources | default $container.resources)
      "securityContext" $container.securityContext "volumeMounts" $mounts -}}
{{- toYaml (mergeOverwrite $pod (dict "containers" (list $ray) "volumes" $volumes)) -}}
{{- end -}}

{{/* The applications of all workers, as the text of a configuration of Ray Serve. Takes root and components. */}}
{{- define "motet.rayApplications" -}}
{{- $root := .root -}}
{{- $applications := list -}}
{{- range .components.workers -}}
  {{- $per := int .values.ray.replicasPerPod -}}
  {{- $scales := eq .mode "ray" -}}
  {{- $max := mul $per ($scales | ternary .values.autoscaling.maxReplicas .values.replicas) | int -}}
  {{- $min := $scales | ternary (mul $per .values.autoscaling.minReplicas) $max | int -}}
  {{- $options := dict "bundle" (include "motet.bundle" $root) "device" (.hasGpu | ternary "cuda" "cpu") -}}
  {{- $options = mergeOverwrite $options (include "motet.tracingSettings" $root | fromJson) (omit .values.settings "max_running") -}}
  {{- /* Ray counts GPUs in units of 1/10,000, and the sum of the shares must not exceed 1. */}}
  {{- $gpus := .hasGpu | ternary (divf (floor (divf 10000 $per)) 10000) 0 -}}
  {{- $args := dict "kind" .kind "min_replicas" $min "max_replicas" $max "num_cpus" 0 "num_gpus" $gpus
        "resources" (dict .name 1) "grace" .drain "options" $options -}}
  {{- if .modality -}}{{- $_ := set $args "modality" .modality -}}{{- end -}}
  {{- if $scales -}}
    {{- $_ := set $args "target_ongoing_requests" .values.ray.targetOngoingRequests -}}
    {{- $_ := set $args "downscale_delay_s" .values.autoscaling.cooldownSeconds -}}
  {{- end -}}
  {{- with .values.settings.max_running -}}{{- $_ := set $args "max_running" . -}}{{- end -}}
  {{- $applications = append $applications (dict "name" .name "import_path" "services.ray.worker:build" "route_prefix" (printf "/%s" .name) "args" $args) -}}
{{- end -}}
{{- toYaml (dict "applications" $applications) -}}
{{- end -}}
