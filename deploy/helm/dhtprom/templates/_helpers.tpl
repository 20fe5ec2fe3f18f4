{{- define "dhtprom.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /* The name of the objects of a part: dict "root" $ "part" "scraper". */ -}}
{{- define "dhtprom.name" -}}
{{ printf "%s-%s" .root.Release.Name .part | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "dhtprom.selector" -}}
app.kubernetes.io/name: dhtprom-{{ .part }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- define "dhtprom.labels" -}}
{{ include "dhtprom.selector" . }}
app.kubernetes.io/part-of: dhtprom
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "dhtprom.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65534
runAsGroup: 65534
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "dhtprom.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "dhtprom.bootstrap" -}}
{{ include "dhtprom.name" (dict "root" . "part" "dht") }}.{{ .Release.Namespace }}.svc:49737
{{- end }}

{{- /* The environment of a client: the invite. */ -}}
{{- define "dhtprom.invite" -}}
- name: DHTPROM_INVITE
  valueFrom: {secretKeyRef: {name: {{ .Values.invite.secretName }}, key: {{ .Values.invite.key }}}}
{{- end }}

{{- /* A client as a sidecar: dict "root" $ "alias" ALIAS "service" NAME "target" URL. $(POD_NAME) in the alias is the pod's name. */ -}}
{{- define "dhtprom.sidecar" -}}
- name: dhtprom-client
  image: {{ include "dhtprom.image" .root }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  command: [/dhtprom-client]
  args:
    - {{ printf "--alias=%s" .alias | quote }}
    - --hostname=$(POD_NAME)
    - {{ printf "--service=%s" .service | quote }}
    - {{ printf "--target=%s" .target | quote }}
    - --web.listen-address=:30001
  env:
    - name: POD_NAME
      valueFrom: {fieldRef: {fieldPath: metadata.name}}
    {{- include "dhtprom.invite" .root | nindent 4 }}
  ports:
    - {name: dhtprom, containerPort: 30001}
  # No readiness: the service is ready without its scraper, too.
  livenessProbe:
    httpGet: {path: /-/healthy, port: dhtprom}
    initialDelaySeconds: 10
  resources: {{- toYaml .root.Values.client.resources | nindent 4 }}
  securityContext:
    {{- include "dhtprom.podSecurity" . | nindent 4 }}
    {{- include "dhtprom.security" . | nindent 4 }}
{{- end }}

{{- /* The environment of a member of a group: one URL per line, files of the volumes below. */ -}}
{{- define "dhtprom.member" -}}
{{- $etcd := .Values.group.etcd -}}
- name: DHTPROM_IDENTITY_SEED
  valueFrom: {secretKeyRef: {name: {{ .Values.group.secretName }}, key: seed}}
- name: DHTPROM_SECRET
  valueFrom: {secretKeyRef: {name: {{ .Values.group.secretName }}, key: secret}}
- {name: DHTPROM_GROUP_ETCD, value: {{ join "\n" $etcd.endpoints | quote }}}
{{- with .Values.group.prefix }}
- {name: DHTPROM_GROUP_PREFIX, value: {{ . | quote }}}
{{- end }}
{{- with .Values.group.lease }}
- {name: DHTPROM_GROUP_LEASE, value: {{ . | quote }}}
{{- end }}
- name: DHTPROM_GROUP_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_IP
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
- {name: DHTPROM_GROUP_ADVERTISE_URL, value: 'http://$(POD_IP):30000'}
{{- if $etcd.tls.secretName }}
- {name: DHTPROM_GROUP_ETCD_CA_FILE, value: /etc/dhtprom/etcd-tls/ca.crt}
{{- if $etcd.tls.clientCertificate }}
- {name: DHTPROM_GROUP_ETCD_CERT_FILE, value: /etc/dhtprom/etcd-tls/tls.crt}
- {name: DHTPROM_GROUP_ETCD_KEY_FILE, value: /etc/dhtprom/etcd-tls/tls.key}
{{- end }}
{{- end }}
{{- if $etcd.auth.user }}
- {name: DHTPROM_GROUP_ETCD_USER, value: {{ $etcd.auth.user | quote }}}
- {name: DHTPROM_GROUP_ETCD_PASSWORD_FILE, value: /etc/dhtprom/etcd-auth/password}
{{- end }}
{{- end }}

{{- define "dhtprom.memberMounts" -}}
{{- if .Values.group.etcd.tls.secretName }}
- {name: etcd-tls, mountPath: /etc/dhtprom/etcd-tls, readOnly: true}
{{- end }}
{{- if .Values.group.etcd.auth.user }}
- {name: etcd-auth, mountPath: /etc/dhtprom/etcd-auth, readOnly: true}
{{- end }}
{{- end }}

{{- /* etcd has the table; the folder keeps what a restart may lose. */ -}}
{{- define "dhtprom.memberVolumes" -}}
- {name: data, emptyDir: {}}
{{- if .Values.group.etcd.tls.secretName }}
- name: etcd-tls
  secret: {secretName: {{ .Values.group.etcd.tls.secretName }}, defaultMode: 0440}
{{- end }}
{{- if .Values.group.etcd.auth.user }}
- name: etcd-auth
  secret: {secretName: {{ .Values.group.etcd.auth.secretName }}, defaultMode: 0440}
{{- end }}
{{- end }}
