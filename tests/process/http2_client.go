// Asks an address as net/http does, over HTTP/2 where TLS chooses it: go run http2_client.go CA URL BODY COUNT.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
)

func main() {
	ca, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	client := &http.Client{Transport: &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool}}}
	count, _ := strconv.Atoi(os.Args[4])
	said := make([]string, count)
	var all sync.WaitGroup
	for i := range said {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			answer, err := client.Post(os.Args[2], "application/json", strings.NewReader(os.Args[3]))
			if err != nil {
				said[i] = err.Error()
				return
			}
			defer answer.Body.Close()
			io.Copy(io.Discard, answer.Body)
			said[i] = fmt.Sprint(answer.Proto, " ", answer.StatusCode)
		}(i)
	}
	all.Wait()
	fmt.Println(strings.Join(said, "\n"))
}
