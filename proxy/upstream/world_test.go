package upstream_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"stasis/proxy/upstream"
)

// world answers on loopback for every host name there is: port 443 and 8443 with https under a
// certificate of its own, every other port with plain http. Handlers see r.TLS and r.Host.
type world struct {
	plain, secure *httptest.Server
	roots         *x509.CertPool
}

func newWorld(t testing.TB, http2 bool, handler http.HandlerFunc) *world {
	t.Helper()
	w := &world{roots: x509.NewCertPool()}
	cert := certificate(t, "*.test", "github.com", "*.github.com", "*.origin.test", "*.example.org")
	w.roots.AddCert(cert.Leaf)
	w.plain = serve(t, handler)
	w.secure = httptest.NewUnstartedServer(handler)
	w.secure.EnableHTTP2 = http2
	w.secure.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	w.secure.Config.ErrorLog = quiet
	w.secure.StartTLS()
	t.Cleanup(w.secure.Close)
	return w
}

func (w *world) options(o *upstream.Options) {
	o.RootCAs = w.roots
	o.AllowedHosts = nil
	o.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		to := w.plain
		if strings.HasSuffix(address, "443") {
			to = w.secure
		}
		return new(net.Dialer).DialContext(ctx, network, to.Listener.Addr().String())
	}
}

// certificate makes a certificate that vouches for itself.
func certificate(t testing.TB, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "world"}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}
