package integration_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stasis/integration/standin"
)

// processor is the processor time in ns that the program has spent, as the
// kernel counts it for each of its threads.
func (d *daemon) processor() (spent int64) {
	d.t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", d.cmd.Process.Pid))
	if err != nil || len(files) == 0 {
		d.t.Fatalf("the kernel does not tell what the program spends: %v", err)
	}
	for _, file := range files {
		var ns int64
		text, err := os.ReadFile(file)
		if err == nil { // else the thread has ended
			_, err = fmt.Sscan(string(text), &ns)
		}
		if err != nil && !os.IsNotExist(err) {
			d.t.Fatal(err)
		}
		spent += ns
	}
	return spent
}

// repeated is one kept connection that asks the same thing again and again.
type repeated struct {
	conn    net.Conn
	r       *bufio.Reader
	request []byte
}

func (d *daemon) repeating(b *testing.B, path string, header ...string) *repeated {
	b.Helper()
	conn, err := net.Dial("tcp", d.addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	text := "GET " + path + " HTTP/1.1\r\nHost: " + d.addr + "\r\nUser-Agent: Composer/2.8.1\r\nAccept-Encoding: gzip\r\n"
	for i := 0; i+1 < len(header); i += 2 {
		text += header[i] + ": " + header[i+1] + "\r\n"
	}
	return &repeated{conn, bufio.NewReaderSize(conn, 64<<10), []byte(text + "\r\n")}
}

func (c *repeated) ask(b *testing.B, times, status int) {
	b.Helper()
	for range times {
		if _, err := c.conn.Write(c.request); err != nil {
			b.Fatal(err)
		}
		resp, err := http.ReadResponse(c.r, nil)
		if err != nil || resp.StatusCode != status {
			b.Fatalf("%v, %v; want %d", resp, err, status)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAccessChecked compares what the program spends on a hot answer to a
// client with a token, as Composer sends it, and to one without: processor time
// of the program over real connections, in rounds that take turns, so that what
// else the machine does hits both. The ratio is the median of the rounds.
func BenchmarkAccessChecked(b *testing.B) {
	const perRound = 250
	s := standin.Start(b, standin.Options{})
	noise := rand.New(rand.NewPCG(1, 2))
	for i, target := 0, 5<<10; target <= 200<<10; i++ {
		name := fmt.Sprintf("acme/kb%d", target>>10)
		text := make([]byte, 1000)
		for k := range text {
			text[k] = "0123456789abcdef"[noise.IntN(16)]
		}
		s.Publish(standin.Release{Name: name, Version: fmt.Sprintf("1.%d.0", i), Description: string(text)})
		if body, _ := s.Document(name); len(standin.Gzip(body)) > target {
			target *= 40
		}
	}
	d := start(b, s, "LOG_LEVEL=warn", "PROXY_METADATA_TTL=86400")
	reads := basic(d.token(map[string]any{"name": "reads", "role": "read"}))
	limited := basic(d.token(map[string]any{"name": "limited", "role": "read", "packages": []string{"own-corp/*"}}))
	for _, c := range []struct {
		name, path string
		status     int
	}{{"5 KB", "/p2/acme/kb5.json", 200}, {"200 KB", "/p2/acme/kb200.json", 200}, {"304", "/p2/acme/kb5.json", 304}} {
		for who, token := range map[string]string{"token": reads, "limited token": limited} {
			b.Run(c.name+", "+who, func(b *testing.B) {
				var cached []string
				if c.status == http.StatusNotModified {
					cached = []string{"If-Modified-Since", d.get(c.path).Header.Get("Last-Modified")}
				}
				stranger := d.repeating(b, c.path, cached...)
				known := d.repeating(b, c.path, append([]string{"Authorization", token}, cached...)...)
				stranger.ask(b, perRound, c.status)
				known.ask(b, perRound, c.status)
				var ratios []float64
				var spent [2]int64
				for b.Loop() {
					var round [2]int64
					for i, client := range []*repeated{stranger, known} {
						before := d.processor()
						client.ask(b, perRound, c.status)
						round[i] = d.processor() - before
						spent[i] += round[i]
					}
					ratios = append(ratios, float64(round[1])/float64(round[0]))
				}
				slices.Sort(ratios)
				requests := float64(b.N * perRound)
				b.ReportMetric(float64(spent[0])/requests, "anonymous-ns/answer")
				b.ReportMetric(float64(spent[1])/requests, "checked-ns/answer")
				b.ReportMetric(ratios[len(ratios)/2], "ratio")
			})
		}
	}
	if log := d.log.String(); strings.Contains(log, "panic") {
		b.Error(log)
	}
}
