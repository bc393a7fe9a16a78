{{/* The bundle: its place in the containers, its volume, and its verification. */}}

{{/* The value of MOTET_BUNDLE. */}}
{{- define "motet.bundle" -}}
{{- $weights := .Values.weights -}}
{{- if eq $weights.source "installed" -}}{{ $weights.bundle }}{{- else -}}/weights{{ with $weights.folder }}/{{ . }}{{ end }}{{- end -}}
{{- end -}}

{{/* The volume of the bundle, as a list, or nothing. */}}
{{- define "motet.weightsVolume" -}}
{{- $weights := .Values.weights -}}
{{- if eq $weights.source "persistentVolumeClaim" }}
- name: weights
  persistentVolumeClaim:
    claimName: {{ $weights.persistentVolumeClaim.claimName }}
    readOnly: true
{{- else if eq $weights.source "hydrated" }}
- name: weights
  persistentVolumeClaim:
    claimName: {{ include "motet.name" . }}-weights
    readOnly: true
{{- else if eq $weights.source "imageVolume" }}
- name: weights
  image:
    reference: {{ $weights.imageVolume.reference }}
    pullPolicy: {{ $weights.imageVolume.pullPolicy }}
{{- end }}
{{- end -}}

{{/* The mark that the job leaves in the volume when the bundle is complete. Hidden files are no part of a bundle. */}}
{{- define "motet.weightsMark" -}}
{{ include "motet.bundle" . }}/.verified-{{ .Values.weights.hydrated.digest }}
{{- end -}}

{{/* Python that verifies the bundle and leaves the mark. */}}
{{- define "motet.verifyScript" -}}
import sys
from pathlib import Path
from motet.core.bundle import Bundle
folder, digest, mark = sys.argv[1:]
bundle = Bundle.load(Path(folder))
if bundle.digest != digest:
    sys.exit(f"the bundle has the digest {bundle.digest}, not {digest}: correct weights.hydrated.digest or the download")
Path(mark).touch()
print(f"{bundle.manifest.name}: {len(bundle.manifest.files)} files are complete")
{{- end -}}

{{/* Python that waits for the mark. */}}
{{- define "motet.waitScript" -}}
import sys, time
from pathlib import Path
while not Path(sys.argv[1]).exists():
    print("waiting for the job that downloads the weights", flush=True)
    time.sleep(5)
{{- end -}}
