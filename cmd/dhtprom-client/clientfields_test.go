package main

import (
	"fmt"
	"strings"
	"testing"
)

// snippet returns a file with a target that has fields of a scrape_config. The fields begin in line 4.
func snippet(fields string) string {
	text := "targets:\n  - alias: a\n    url: https://localhost/\n"
	for line := range strings.Lines(fields) {
		text += "    " + line
	}
	return text
}

// The fields of a target are those of a scrape_config, as Prometheus's documentation has them.
func TestTargetsHaveTheHTTPClientOfAScrapeConfig(t *testing.T) {
	for name, c := range map[string]struct{ fields, want string }{
		"nothing": {"", "follow_redirects: false\nenable_http2: false\n"},
		"basic_auth": {"basic_auth:\n  username: me\n  password: hunter2\n",
			"basic_auth:\n  username: me\n  password: <secret>\nfollow_redirects: false\nenable_http2: false\n"},
		"basic_auth of files": {"basic_auth:\n  username_file: /etc/user\n  password_file: secrets/password\n",
			"basic_auth:\n  username_file: /etc/user\n  password_file: /d/secrets/password\nfollow_redirects: false\nenable_http2: false\n"},
		"a user alone": {"basic_auth: {username: 123}\n", "basic_auth:\n  username: \"123\"\nfollow_redirects: false\nenable_http2: false\n"},
		"authorization": {"authorization:\n  credentials: hunter2\n",
			"authorization:\n  type: Bearer\n  credentials: <secret>\nfollow_redirects: false\nenable_http2: false\n"},
		"authorization of a file": {"authorization:\n  type: Token\n  credentials_file: token\n",
			"authorization:\n  type: Token\n  credentials_file: /d/token\nfollow_redirects: false\nenable_http2: false\n"},
		"bearer_token":      {"bearer_token: hunter2\n", "authorization:\n  type: Bearer\n  credentials: <secret>\nfollow_redirects: false\nenable_http2: false\n"},
		"bearer_token_file": {"bearer_token_file: token\n", "authorization:\n  type: Bearer\n  credentials_file: /d/token\nfollow_redirects: false\nenable_http2: false\n"},
		"switches":          {"follow_redirects: true\nenable_http2: true\n", "follow_redirects: true\nenable_http2: true\n"},
		"one switch":        {"enable_http2: true\n", "follow_redirects: false\nenable_http2: true\n"},
		"tls_config": {`tls_config:
  ca_file: ca.pem
  cert: |
    -----BEGIN CERTIFICATE-----
  key: hunter2
  server_name: shop.example
  insecure_skip_verify: true
  min_version: TLS12
  max_version: TLS13
`, `tls_config:
  cert: |
    -----BEGIN CERTIFICATE-----
  key: <secret>
  ca_file: /d/ca.pem
  server_name: shop.example
  insecure_skip_verify: true
  min_version: TLS12
  max_version: TLS13
follow_redirects: false
enable_http2: false
`},
		"oauth2": {`oauth2:
  client_id: me
  client_secret_file: secret
  client_certificate_key_file: key.pem
  scopes: [a, b]
  token_url: https://login.example/token
  endpoint_params: {resource: x}
  claims: {a: 1, b: [c]}
  tls_config: {ca_file: ca.pem}
  proxy_url: http://me:hunter2@proxy.example:3128
`, `oauth2:
  client_id: me
  client_secret_file: /d/secret
  client_certificate_key_file: /d/key.pem
  claims:
    a: 1
    b:
    - c
  scopes:
  - a
  - b
  token_url: https://login.example/token
  endpoint_params:
    resource: x
  tls_config:
    ca_file: /d/ca.pem
    insecure_skip_verify: false
  proxy_url: http://me:xxxxx@proxy.example:3128
follow_redirects: false
enable_http2: false
`},
		"proxy": {"proxy_url: http://proxy.example:3128\nno_proxy: localhost\nproxy_connect_header: {X-Site: [hunter2]}\n",
			"follow_redirects: false\nenable_http2: false\nproxy_url: http://proxy.example:3128\nno_proxy: localhost\nproxy_connect_header:\n  X-Site:\n  - <secret>\n"},
		"the proxy of the environment": {"proxy_from_environment: true\n", "follow_redirects: false\nenable_http2: false\nproxy_from_environment: true\n"},
		"http_headers": {"http_headers:\n  X-A:\n    values: [a, b]\n    secrets: [hunter2]\n    files: [x, /y]\n",
			"follow_redirects: false\nenable_http2: false\nhttp_headers:\n  X-A:\n    values:\n    - a\n    - b\n    secrets:\n    - <secret>\n    files:\n    - /d/x\n    - /y\n"},
		"an anchor": {"tls_config: &c {ca_file: ca.pem}\noauth2: {client_id: me, token_url: x, tls_config: *c}\n",
			"oauth2:\n  client_id: me\n  token_url: x\n  tls_config:\n    ca_file: /d/ca.pem\n    insecure_skip_verify: false\ntls_config:\n  ca_file: /d/ca.pem\n  insecure_skip_verify: false\nfollow_redirects: false\nenable_http2: false\n"},
	} {
		cfg, err := parseConfigFile("/d/c.yml", []byte(snippet(c.fields)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := strings.Replace(cfg.targets[0].http.Client.String(), "tls_config:\n  insecure_skip_verify: false\n", "", 1)
		if got != c.want {
			t.Errorf("%s:\n%s\nwant:\n%s", name, got, c.want)
		}
		if text := fmt.Sprintf("%+v", cfg); strings.Contains(text, "hunter2") {
			t.Errorf("%s: %s", name, text)
		}
	}
}

func TestErrorsInTheHTTPClientSayWhereAndWhat(t *testing.T) {
	for fields, want := range map[string]string{
		"basic_auth: hunter2":                                                              "4: targets[0].basic_auth: want a mapping with some of password, password_file, username, username_file; got one value",
		"basic_auth:\n  password: [hunter2]":                                               "5: targets[0].basic_auth.password: want one value, got a list",
		"basic_auth:\n  username: a\n  password:":                                          "6: targets[0].basic_auth.password: want one value, got nothing",
		"basic_auth:\n  username: a\n  pasword: hunter2":                                   `6: targets[0].basic_auth: unknown field "pasword", want some of password, password_file, username, username_file`,
		"basic_auth:\n  password_ref: hunter2":                                             `5: targets[0].basic_auth: unknown field "password_ref", want some of password, password_file, username, username_file`,
		"basic_auth:\n  password_file: ''":                                                 "5: targets[0].basic_auth.password_file: want a file name",
		"basic_auth:\n  username: a\n  username: hunter2":                                  "6: targets[0].basic_auth.username: duplicate field",
		"check: true\nbasic_auth:\n  password: hunter2\n  password_file: b":                "6: targets[0].basic_auth: at most one of basic_auth password, password_file & password_ref must be configured",
		"basic_auth: {username: me}\nauthorization: {credentials: hunter2}":                "2: targets[0]: at most one of basic_auth, oauth2 & authorization must be configured",
		"bearer_token: hunter2\nbearer_token_file: x":                                      "2: targets[0]: at most one of bearer_token & bearer_token_file must be configured",
		"authorization: Bearer hunter2":                                                    "4: targets[0].authorization: want a mapping with some of credentials, credentials_file, type; got one value",
		"authorization:\n  type: Basic\n  credentials: hunter2":                            `5: targets[0].authorization: authorization type cannot be set to "basic", use "basic_auth" instead`,
		"authorization:\n  credentials: hunter2\n  credentials_file: x":                    "5: targets[0].authorization: at most one of authorization credentials & credentials_file must be configured",
		"tls_config:\n  ca: x\n  ca_file: x":                                               "5: targets[0].tls_config: at most one of ca, ca_file & ca_ref must be configured",
		"tls_config:\n  cert_file: x":                                                      "5: targets[0].tls_config: exactly one of key or key_file must be configured when a client certificate is configured",
		"tls_config:\n  min_version: TLS9":                                                 "5: targets[0].tls_config.min_version: unknown TLS version: TLS9",
		"tls_config:\n  insecure_skip_verify: maybe":                                       `5: targets[0].tls_config.insecure_skip_verify: want true or false, got "maybe"`,
		"oauth2:\n  client_id: me":                                                         "5: targets[0].oauth2: oauth2 token_url must be configured",
		"oauth2:\n  token_url: x":                                                          "5: targets[0].oauth2: oauth2 client_id must be configured",
		"oauth2:\n  scopes: metrics":                                                       "5: targets[0].oauth2.scopes: want a list, got one value",
		"oauth2:\n  client_id: me\n  secret: hunter2":                                      `6: targets[0].oauth2: unknown field "secret", want some of audience, claims, client_certificate_key, client_certificate_key_file, client_certificate_key_id, client_id, client_secret, client_secret_file, endpoint_params, grant_type, iss, no_proxy, proxy_connect_header, proxy_from_environment, proxy_url, scopes, signature_algorithm, tls_config, token_url`,
		"oauth2:\n  client_id: me\n  token_url: x\n  tls_config:\n    key: hunter2":        "8: targets[0].oauth2.tls_config: exactly one of cert or cert_file must be configured when a client key is configured",
		"oauth2:\n  client_id: me\n  token_url: x\n  tls_config:\n    keys: hunter2":       `8: targets[0].oauth2.tls_config: unknown field "keys", want some of ca, ca_file, cert, cert_file, insecure_skip_verify, key, key_file, max_version, min_version, server_name`,
		"oauth2:\n  client_id: me\n  token_url: x\n  no_proxy: y":                          "5: targets[0].oauth2: if no_proxy is configured, proxy_url must also be configured",
		"oauth2:\n  client_id: me\n  token_url: x\n  claims: {a: {b: !!int hunter2}}":      "7: targets[0].oauth2.claims.a: invalid value",
		"proxy_url: http://me:hunter2@[::1":                                                "4: targets[0].proxy_url: invalid URL: want something like http://localhost:3128",
		"no_proxy: x":                                                                      "4: targets[0].no_proxy: if no_proxy is configured, proxy_url must also be configured",
		"proxy_from_environment: true\nproxy_url: http://me:hunter2@x":                     "2: targets[0]: if proxy_from_environment is configured, proxy_url must not be configured",
		"proxy_connect_header: {X: [hunter2]}":                                             "4: targets[0].proxy_connect_header: if proxy_connect_header is configured, proxy_url or proxy_from_environment must also be configured",
		"proxy_url: http://x\nproxy_connect_header:\n  X: hunter2":                         "6: targets[0].proxy_connect_header.X: want a list, got one value",
		"http_headers: [X]":                                                                "4: targets[0].http_headers: want a mapping of names to values, got a list",
		"http_headers:\n  X: hunter2":                                                      "5: targets[0].http_headers.X: want a mapping with some of files, secrets, values; got one value",
		"http_headers:\n  X:\n    value: [hunter2]":                                        `6: targets[0].http_headers.X: unknown field "value", want some of files, secrets, values`,
		"http_headers:\n  X:\n    values: hunter2":                                         "6: targets[0].http_headers.X.values: want a list, got one value",
		"http_headers:\n  X: {values: [a]}\n  X: {values: [b]}":                            "6: targets[0].http_headers.X: duplicate field",
		"http_headers:\n  user-agent: {values: [a]}":                                       `5: targets[0].http_headers: setting header "User-Agent" is not allowed`,
		"follow_redirects: maybe":                                                          `4: targets[0].follow_redirects: want true or false, got "maybe"`,
		"enable_http2:":                                                                    "4: targets[0].enable_http2: want one value, got nothing",
		"scheme: https":                                                                    `4: targets[0]: unknown field "scheme", want some of ` + targetFields,
		"follow_redirects: maybe\nbasic_auth: {user: x}\ntls_config:\n  min_version: TLS9": "4: targets[0].follow_redirects: want true or false, got \"maybe\"\nc.yml:5: targets[0].basic_auth: unknown field \"user\", want some of password, password_file, username, username_file\nc.yml:7: targets[0].tls_config.min_version: unknown TLS version: TLS9",
	} {
		_, err := parseConfigFile("c.yml", []byte(snippet(fields)))
		if err == nil || err.Error() != "c.yml:"+want {
			t.Errorf("%q:\ngot  %v\nwant c.yml:%s", fields, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the error quotes a secret: %v", fields, err)
		}
	}
}
