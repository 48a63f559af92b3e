// hashicorp/go-retryablehttp at work: client plain|passes-on WHAT URL. Prints what python_client.py prints.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/hashicorp/go-retryablehttp"
)

type report struct {
	Status int    `json:"status"`
	Sees   string `json:"sees"`
	Body   string `json:"body"`
	Events int    `json:"events"`
}

func tell(answer *http.Response, err error) {
	said := report{}
	if err != nil {
		said.Sees = err.Error()
	}
	if answer != nil {
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		said.Status, said.Body = answer.StatusCode, string(body)
		if answer.StatusCode != 200 {
			said.Sees = answer.Status
		}
	}
	json.NewEncoder(os.Stdout).Encode(said)
}

func listen(client *retryablehttp.Client, url string, most int) {
	answer, err := client.Get(url)
	if err != nil {
		tell(nil, err)
		return
	}
	said := report{Status: answer.StatusCode}
	lines := bufio.NewScanner(answer.Body)
	for said.Events != most && lines.Scan() {
		if strings.HasPrefix(lines.Text(), "data:") {
			said.Events++
		}
	}
	if lines.Err() != nil {
		said.Sees = lines.Err().Error()
	}
	answer.Body.Close()
	json.NewEncoder(os.Stdout).Encode(said)
}

func main() {
	manner, what, url := os.Args[1], os.Args[2], os.Args[3]
	client := retryablehttp.NewClient()
	client.Logger = nil
	client.RetryMax = 2
	if manner == "passes-on" { // the last answer, where it says "giving up" otherwise
		client.ErrorHandler = retryablehttp.PassthroughErrorHandler
	}
	text := []byte(`{"text": "we bake bread and cakes for the whole town"}`)
	switch what {
	case "ask":
		tell(client.Post(url, "application/json", text))
	case "twice":
		tell(client.Post(url, "application/json", text))
		tell(client.Post(url, "application/json", text))
	case "upload":
		client.RetryMax = 0
		tell(client.Post(url, "application/json", bytes.Repeat([]byte("x"), 8<<20)))
	case "stream":
		listen(client, url, 3)
	case "listen":
		listen(client, url, -1)
	}
}
