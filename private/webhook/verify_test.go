package webhook_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"stasis/private/webhook"
)

func mac(secret string, body ...string) []byte {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(strings.Join(body, "")))
	return m.Sum(nil)
}

func hexMAC(secret, body string) string { return hex.EncodeToString(mac(secret, body)) }

func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

// The examples that providers publish so that receivers can test themselves.
func TestPublishedVectors(t *testing.T) {
	const everybody = "It's a Secret to Everybody"
	for _, c := range []struct {
		name         string
		provider     webhook.Provider
		secret, body string
		at           int64
		header       http.Header
	}{
		{"GitHub's documentation", webhook.GitHub, everybody, "Hello, World!", 0, header("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958", "X-GitHub-Event", "push",
			"X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")},
		{"Atlassian's documentation", webhook.Bitbucket, everybody, "Hello World!", 0, header("X-Request-UUID", "e2d1f7a4-0c0b-4a4b-9c0e-1f0c9d1c9c0e", "X-Event-Key", "repo:push",
			"X-Hub-Signature", "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9")},
		{"the Standard Webhooks specification", webhook.GitLab, "whsec_plJ3nmyCDGBKInavdOK15jsl", `{"event_type":"ping","data":{"success":true}}`, 1731705121,
			header("webhook-id", "msg_loFOjxBNrRLzqYUf", "webhook-timestamp", "1731705121", "webhook-signature", "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=")},
	} {
		if _, err := webhook.Verify(c.provider, [][]byte{[]byte(c.secret)}, c.header, []byte(c.body), time.Unix(c.at, 0)); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// scheme is one way of signing: it makes the headers of a delivery.
type scheme struct {
	name     string
	provider webhook.Provider
	secret   string
	sign     func(secret, body string, at time.Time) http.Header
	id       string // how the delivery is called; the same for every test
	covers   bool   // the body is signed
	ages     bool   // and the time
}

const delivery = "f6266f16-1bf3-46a5-9ea4-602e06ead473"

var schemes = []scheme{
	{"github", webhook.GitHub, "hush", func(s, b string, _ time.Time) http.Header {
		return header("X-Hub-Signature-256", "sha256="+hexMAC(s, b), "X-Hub-Signature", "sha1=0000", "X-GitHub-Delivery", delivery, "X-GitHub-Event", "push")
	}, delivery, true, false},
	{"gitlab, classic", webhook.GitLab, "hush", func(s, b string, _ time.Time) http.Header {
		return header("X-Gitlab-Token", s, "X-Gitlab-Event", "Push Hook", "Idempotency-Key", delivery, "X-Gitlab-Event-UUID", "another")
	}, delivery, false, false},
	{"gitlab, signed", webhook.GitLab, "whsec_" + base64.StdEncoding.EncodeToString([]byte("hush")), func(s, b string, at time.Time) http.Header {
		key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(s, "whsec_"))
		stamp := strconv.FormatInt(at.Unix(), 10)
		return header("Webhook-Id", delivery, "Webhook-Timestamp", stamp, "X-Gitlab-Event", "Push Hook",
			"Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac(string(key), delivery, ".", stamp, ".", b)))
	}, delivery, true, true},
	{"gitea", webhook.Gitea, "hush", func(s, b string, _ time.Time) http.Header {
		return header("X-Gitea-Signature", hexMAC(s, b), "X-Gitea-Delivery", delivery, "X-Gitea-Event", "push", "X-GitHub-Event", "push")
	}, delivery, true, false},
	{"forgejo", webhook.Forgejo, "hush", func(s, b string, _ time.Time) http.Header {
		return header("X-Forgejo-Signature", hexMAC(s, b), "X-Gitea-Signature", hexMAC(s, b), "X-Forgejo-Delivery", delivery, "X-Forgejo-Event", "push", "X-Gitea-Event", "push")
	}, delivery, true, false},
	{"bitbucket cloud", webhook.Bitbucket, "hush", func(s, b string, _ time.Time) http.Header {
		return header("X-Hub-Signature", "sha256="+hexMAC(s, b), "X-Request-UUID", delivery, "X-Event-Key", "repo:push")
	}, delivery, true, false},
	{"bitbucket data center", webhook.Bitbucket, "hush", func(s, b string, _ time.Time) http.Header {
		return header("X-Hub-Signature", "sha256="+hexMAC(s, b), "X-Request-Id", delivery, "X-Event-Key", "repo:refs_changed")
	}, delivery, true, false},
}

func TestEverySchemeGivesTheExactVerdict(t *testing.T) {
	const body = `{"ref": "refs/heads/main"}`
	now := time.Unix(1_800_000_000, 0)
	for _, s := range schemes {
		t.Run(s.name, func(t *testing.T) {
			verify := func(secrets []string, h http.Header, body string, at time.Time) (webhook.Delivery, error) {
				var list [][]byte
				for _, s := range secrets {
					list = append(list, []byte(s))
				}
				return webhook.Verify(s.provider, list, h, []byte(body), at)
			}
			good := s.sign(s.secret, body, now)
			wrong := "another"
			if s.ages {
				wrong = "whsec_" + base64.StdEncoding.EncodeToString([]byte("another"))
			}
			for _, c := range []struct {
				name    string
				secrets []string
				header  http.Header
				body    string
				at      time.Time
				want    error
			}{
				{"good", []string{s.secret}, good, body, now, nil},
				{"good, by the second of two secrets", []string{wrong, s.secret}, good, body, now, nil},
				{"signed with another secret", []string{s.secret}, s.sign(wrong, body, now), body, now, webhook.ErrSignature},
				{"not signed", []string{s.secret}, header("X-GitHub-Delivery", delivery), body, now, webhook.ErrUnsigned},
				{"signed twice", []string{s.secret}, doubled(good), body, now, webhook.ErrUnsigned},
				{"no secret", nil, good, body, now, webhook.ErrNoSecret},
				{"an empty secret", []string{""}, s.sign("", body, now), body, now, webhook.ErrNoSecret},
				{"an empty secret beside a good one", []string{s.secret, ""}, good, body, now, webhook.ErrNoSecret},
				{"replayed", []string{s.secret}, good, body, now.Add(4 * time.Minute), nil},
				{"replayed later", []string{s.secret}, good, body, now.Add(6 * time.Minute), map[bool]error{true: webhook.ErrStale}[s.ages]},
				{"from the future", []string{s.secret}, good, body, now.Add(-6 * time.Minute), map[bool]error{true: webhook.ErrStale}[s.ages]},
				{"one byte of the body altered", []string{s.secret}, good, strings.Replace(body, "main", "mail", 1), now, map[bool]error{true: webhook.ErrSignature}[s.covers]},
				{"an empty body", []string{s.secret}, good, "", now, map[bool]error{true: webhook.ErrSignature}[s.covers]},
			} {
				d, err := verify(c.secrets, c.header, c.body, c.at)
				if !errors.Is(err, c.want) || c.want == nil && err != nil {
					t.Errorf("%s: got %v, want %v", c.name, err, c.want)
				}
				if err == nil && (d.ID != s.id || d.Event == "") {
					t.Errorf("%s: the delivery is %+v", c.name, d)
				}
				if err != nil && d != (webhook.Delivery{}) {
					t.Errorf("%s: it says %+v of what it does not believe", c.name, d)
				}
			}
			// What another provider sends, signed with the very same secret, is not believed.
			for _, other := range schemes {
				if other.provider == s.provider && other.ages == s.ages || s.provider == webhook.Forgejo && other.provider == webhook.Gitea ||
					s.provider == webhook.Gitea && other.provider == webhook.Forgejo {
					continue
				}
				if _, err := verify([]string{s.secret}, other.sign(s.secret, body, now), body, now); err == nil {
					t.Errorf("what %s sends is believed", other.name)
				}
			}
		})
	}
}

// doubled repeats every header with another value behind.
func doubled(h http.Header) http.Header {
	h = h.Clone()
	for k, v := range h {
		h[k] = append(v, "x"+v[0])
	}
	return h
}

func TestTheSenderCannotChooseAWeakerScheme(t *testing.T) {
	now, body := time.Unix(1_800_000_000, 0), []byte("{}")
	signing := "whsec_" + base64.StdEncoding.EncodeToString([]byte("hush"))
	for _, token := range []string{signing, "old"} {
		_, err := webhook.Verify(webhook.GitLab, [][]byte{[]byte("old"), []byte(signing)}, header("X-Gitlab-Token", token), body, now)
		if !errors.Is(err, webhook.ErrUnsigned) {
			t.Errorf("beside a signing token, the token %q alone gives %v", token, err)
		}
	}
	// Forgejo's own header alone counts where it is there.
	_, err := webhook.Verify(webhook.Forgejo, [][]byte{[]byte("hush")}, header("X-Forgejo-Signature", hexMAC("another", "{}"), "X-Gitea-Signature", hexMAC("hush", "{}"), "X-Gitea-Delivery", "1"), body, now)
	if !errors.Is(err, webhook.ErrSignature) {
		t.Errorf("a wrong signature beside a good one gives %v", err)
	}
	// SHA-1 is no signature.
	_, err = webhook.Verify(webhook.GitHub, [][]byte{[]byte("hush")}, header("X-Hub-Signature", "sha256="+hexMAC("hush", "{}"), "X-GitHub-Delivery", "1"), body, now)
	if !errors.Is(err, webhook.ErrUnsigned) {
		t.Errorf("GitHub's old header gives %v", err)
	}
}

func TestOldForgejoIsUnderstood(t *testing.T) {
	d, err := webhook.Verify(webhook.Forgejo, [][]byte{[]byte("hush")}, header("X-Gitea-Signature", hexMAC("hush", "{}"), "X-Gitea-Delivery", "1", "X-Gitea-Event", "push"), []byte("{}"), time.Now())
	if err != nil || d != (webhook.Delivery{ID: "1", Event: "push"}) {
		t.Errorf("got %+v, %v", d, err)
	}
}

func TestDeliveriesWithoutAUsableNameAreRefused(t *testing.T) {
	for _, id := range []string{"", "a\x00b", "é", strings.Repeat("x", 201)} {
		h := header("X-Hub-Signature-256", "sha256="+hexMAC("hush", "{}"))
		h["X-Github-Delivery"] = []string{id}
		if _, err := webhook.Verify(webhook.GitHub, [][]byte{[]byte("hush")}, h, []byte("{}"), time.Now()); !errors.Is(err, webhook.ErrNoID) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestTokensAreFoundWherePeopleAndPacketonPutThem(t *testing.T) {
	basic := func(s string) http.Header {
		return header("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(s)))
	}
	for _, c := range []struct {
		h           http.Header
		query, want string
	}{
		{header("X-Stasis-Token", "hush"), "token=another", "hush"},
		{header("Authorization", "Bearer hush"), "", "hush"},
		{header("Authorization", "bearer  hush "), "", "hush"},
		{basic("anybody:hush"), "", "hush"},
		{basic("hush:"), "", ""},
		{header("Authorization", "Basic hush"), "", ""},
		{header("Authorization", "hush"), "", ""},
		{header("X-Gitlab-Token", "hush"), "", ""},
		{header(), "token=admin:hush", "hush"},
		{header(), "token=whk_0123456789", "whk_0123456789"},
		{header(), "username=admin&apiToken=hush", "hush"},
		{header(), "apiToken=hush", ""},
		{header(), "token=admin:with:colons", "with:colons"},
		{header(), "token=", ""},
		{header(), "composer_package_name=acme/lib&token=x", "x"},
	} {
		q, err := url.ParseQuery(c.query)
		if err != nil {
			t.Fatal(err)
		}
		if got := webhook.Token(c.h, q); got != c.want {
			t.Errorf("%v %s: got %q, want %q", c.h, c.query, got, c.want)
		}
	}
}

func TestParseProvider(t *testing.T) {
	for _, p := range webhook.Providers {
		if got, err := webhook.ParseProvider(string(p)); err != nil || got != p {
			t.Errorf("%s: %v, %v", p, got, err)
		}
	}
	for _, s := range []string{"", "GitHub", "gitlab\n"} {
		if _, err := webhook.ParseProvider(s); err == nil {
			t.Errorf("%q is a provider", s)
		}
	}
	for _, p := range []webhook.Provider{webhook.Generic, "svn"} {
		if _, err := webhook.Verify(p, [][]byte{[]byte("x")}, header("X-Stasis-Token", "x", "Authorization", "Bearer x"), nil, time.Now()); err == nil {
			t.Errorf("%s is believed", p)
		}
	}
}

func TestRecognize(t *testing.T) {
	for _, s := range schemes {
		if got := webhook.Recognize(s.sign(s.secret, "{}", time.Now())); got != s.provider {
			t.Errorf("%s: got %s", s.name, got)
		}
	}
	if got := webhook.Recognize(header("User-Agent", "GitHub-Hookshot/1")); got != webhook.Generic {
		t.Errorf("without an event: got %s", got)
	}
}

// No signature but the right one is believed, whatever the headers hold.
func FuzzVerify(f *testing.F) {
	f.Add("github", "X-Hub-Signature-256", "sha256=00", "X-GitHub-Delivery", "1", []byte("{}"))
	f.Add("gitlab", "Webhook-Signature", "v1,AA==", "Webhook-Timestamp", "1800000000", []byte("{}"))
	f.Add("forgejo", "X-Forgejo-Signature", "00", "X-Forgejo-Delivery", "1", []byte("{}"))
	f.Add("bitbucket", "X-Hub-Signature", "sha256=", "X-Request-Id", "1", []byte{})
	secret := []byte("a secret that no fuzzer finds")
	f.Fuzz(func(t *testing.T, provider, name, value, name2, value2 string, body []byte) {
		h := header(name, value, name2, value2)
		for _, v := range h {
			if bytes.Contains([]byte(strings.Join(v, "")), secret) {
				return
			}
		}
		if d, err := webhook.Verify(webhook.Provider(provider), [][]byte{secret}, h, body, time.Unix(1_800_000_000, 0)); err == nil {
			t.Fatalf("%v was believed as %+v", h, d)
		}
	})
}
