{{/* deploy/alertmanager in the words of the Prometheus operator. */}}

{{/* Alertmanager's matchers, as 'label = "value"' -> a list of the operator's, as JSON. */}}
{{- define "entrain.alertMatchers" -}}
{{- $made := list -}}
{{- range . -}}
{{- $name := regexFind "^[a-z_]+" . -}}
{{- $kind := regexFind "[=!~]+" . -}}
{{- $made = append $made (dict "name" $name "matchType" $kind "value" (regexFind "\".*\"$" . | trimAll "\"")) -}}
{{- end -}}
{{- toJson $made -}}
{{- end -}}

{{/* A route with those below it, as JSON. */}}
{{- define "entrain.alertRoute" -}}
{{- $made := dict "receiver" .receiver -}}
{{- range $theirs, $ours := dict "group_by" "groupBy" "group_wait" "groupWait" "group_interval" "groupInterval" "repeat_interval" "repeatInterval" -}}
{{- with index $ $theirs }}{{ $_ := set $made $ours . }}{{ end -}}
{{- end -}}
{{- with .matchers }}{{ $_ := set $made "matchers" (include "entrain.alertMatchers" . | fromJsonArray) }}{{ end -}}
{{- $below := list -}}
{{- range .routes }}{{ $below = append $below (include "entrain.alertRoute" . | fromJson) }}{{ end -}}
{{- with $below }}{{ $_ := set $made "routes" . }}{{ end -}}
{{- toJson $made -}}
{{- end -}}
