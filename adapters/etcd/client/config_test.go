package client

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestConfigIsChecked(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	password, empty := file("password", "secret\n"), file("empty", "\n")
	long, garbage := file("long", strings.Repeat("x", maxPassword+1)), file("garbage", "x")
	one := []string{"https://192.0.2.1:2379"}
	tests := []struct {
		name string
		cfg  Config
		want string // a part of the error, "" for none
	}{
		{"TLS with the system's authorities", Config{Endpoints: one, Prefix: "/"}, ""},
		{"several without TLS", Config{Endpoints: []string{"http://a:1", "http://b:2"}, Prefix: "/"}, ""},
		{"a slash behind an IPv6 address", Config{Endpoints: []string{"https://[2001:db8::1]:2379/"}, Prefix: "/"}, ""},
		{"a user", Config{Endpoints: one, Prefix: "/", User: "u", PasswordFile: password}, ""},
		{"no endpoints", Config{Prefix: "/"}, "no endpoints; want one or more of https://HOST:PORT"},
		{"no prefix", Config{Endpoints: one}, "want one such as /dhtprom/"},
		{"no scheme", Config{Endpoints: []string{"192.0.2.1:2379"}, Prefix: "/"}, "want https://HOST:PORT or http://HOST:PORT"},
		{"another scheme", Config{Endpoints: []string{"ftp://a:1"}, Prefix: "/"}, "want https://HOST:PORT or http://HOST:PORT"},
		{"a path", Config{Endpoints: []string{"https://a:1/v3"}, Prefix: "/"}, "want https://HOST:PORT or http://HOST:PORT"},
		{"a user in the URL", Config{Endpoints: []string{"https://u@a:1"}, Prefix: "/"}, "want https://HOST:PORT or http://HOST:PORT"},
		{"no port", Config{Endpoints: []string{"https://a"}, Prefix: "/"}, "etcd's port 2379"},
		{"both schemes", Config{Endpoints: []string{"https://a:1", "http://b:1"}, Prefix: "/"}, "want the same scheme for all"},
		{"TLS without encryption", Config{Endpoints: []string{"http://a:1"}, Prefix: "/", CAFile: garbage}, "is not encrypted; want https://HOST:PORT"},
		{"a certificate without its key", Config{Endpoints: one, Prefix: "/", CertFile: garbage}, "takes both"},
		{"a certificate that is none", Config{Endpoints: one, Prefix: "/", CertFile: garbage, KeyFile: garbage}, "client certificate " + garbage},
		{"a missing CA file", Config{Endpoints: one, Prefix: "/", CAFile: dir + "/missing"}, "CA file: open"},
		{"a CA file without certificates", Config{Endpoints: one, Prefix: "/", CAFile: garbage}, "has no certificate in PEM"},
		{"a user without a password", Config{Endpoints: one, Prefix: "/", User: "u"}, "takes both"},
		{"a missing password file", Config{Endpoints: one, Prefix: "/", User: "u", PasswordFile: dir + "/missing"}, "password file: open"},
		{"an empty password file", Config{Endpoints: one, Prefix: "/", User: "u", PasswordFile: empty}, "is empty"},
		{"a long password file", Config{Endpoints: one, Prefix: "/", User: "u", PasswordFile: long}, "more than 4096 bytes"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			switch err := test.cfg.Check(); {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
	if got, err := readPassword(password); err != nil || got != "secret" {
		t.Errorf("password %q, %v", got, err)
	}
}
